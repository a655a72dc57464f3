"""Every op's torch backend against the eager reference, at hostile shapes, with gradients."""

import pytest
import torch

from ea_kernels import ops
from ea_kernels.nn import GroupNorm, LayerNorm, RMSNorm

DTYPES = [torch.float32, torch.bfloat16]
SHAPES = [(1, 1, 2), (2, 17, 31), (3, 1, 1023), (1, 257, 64)]


def tolerance(dtype):
    return {"atol": 2e-5, "rtol": 2e-5} if dtype == torch.float32 else {"atol": 4e-2, "rtol": 2e-2}


def strided(*shape, dtype):
    """A tensor whose last axis is not contiguous with the one before it."""
    return torch.randn(*shape[:-1], 2 * shape[-1]).to(dtype)[..., : shape[-1]]


def compare(function, inputs, dtype):
    """Outputs and every gradient."""
    results = []
    for backend in ("torch", "reference"):
        leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
        out = function(*leaves, backend=backend)
        weight = torch.linspace(-1, 1, out.numel()).view(out.shape)
        (out.float() * weight).sum().backward()
        results.append((out, *(leaf.grad for leaf in leaves)))
    for actual, expected in zip(*results, strict=True):
        assert actual.dtype == expected.dtype
        torch.testing.assert_close(actual, expected, **tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layer_norm(shape, dtype):
    x = strided(*shape, dtype=dtype)
    if shape[-1] == 2:
        x = x + torch.tensor([1.0, -1.0], dtype=dtype)  # two equal values have no gradient worth comparing
    weight, bias = torch.randn(2, shape[-1], dtype=dtype).unbind()
    compare(lambda x, w, b, backend: ops.layer_norm(x, w, b, backend=backend), (x, weight, bias), dtype)
    compare(lambda x, backend: ops.layer_norm(x, backend=backend), (x,), dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layer_norm_with_float32_weights_on_low_precision_input(shape):
    x, weight, bias = strided(*shape, dtype=torch.bfloat16), torch.randn(shape[-1]), torch.randn(shape[-1])
    out = ops.layer_norm(x, weight, bias)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(
        out, ops.layer_norm(x, weight, bias, backend="reference"), atol=4e-2, rtol=2e-2
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rms_norm(shape, dtype):
    inputs = (strided(*shape, dtype=dtype), torch.randn(shape[-1], dtype=dtype))
    compare(lambda x, w, backend: ops.rms_norm(x, w, backend=backend), inputs, dtype)


@pytest.mark.parametrize("shape", [(1, 6, 5), (2, 6, 3, 5, 7)], ids=str)
def test_group_norm(shape):
    inputs = (torch.randn(shape), torch.randn(6), torch.randn(6))
    compare(lambda x, w, b, backend: ops.group_norm(x, 3, w, b, backend=backend), inputs, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_modulation_and_gate(shape, dtype):
    x, y = strided(*shape, dtype=dtype), strided(*shape, dtype=dtype)
    a, b = (torch.randn(shape[0], shape[-1]).to(dtype) for _ in range(2))
    compare(ops.modulate, (x, a, b), dtype)
    compare(ops.gated_residual, (x, a, y), dtype)


def test_gated_residual_keeps_a_float32_stream():
    x, gate, update = torch.randn(2, 3, 4), torch.randn(2, 4).bfloat16(), torch.randn(2, 3, 4).bfloat16()
    out = ops.gated_residual(x, gate, update)
    assert out.dtype == torch.float32
    torch.testing.assert_close(
        out, ops.gated_residual(x, gate, update, backend="reference"), atol=2e-2, rtol=1e-2
    )


@pytest.mark.parametrize("affine", [True, False])
def test_modulated_layer_norm_of_one_sample_in_training(affine):
    x, scale, shift = torch.randn(1, 7, 16), torch.randn(1, 16), torch.randn(1, 16)
    given = [x, scale, shift, *([torch.randn(16), torch.randn(16)] if affine else [])]
    seen = torch.randn(1, 7, 16)
    found = []
    for backend in ("auto", "reference"):
        leaves = [tensor.clone().requires_grad_() for tensor in given]
        out = ops.modulated_layer_norm(*leaves, eps=1e-6, backend=backend)
        found.append([out, *torch.autograd.grad((out * seen).sum(), leaves)])
    for ours, truth in zip(*found, strict=True):
        assert torch.allclose(ours, truth, atol=1e-4, rtol=1e-5)


def test_modulated_layer_norm_is_both_in_one():
    x, scale, shift = torch.randn(2, 5, 8), torch.randn(2, 8), torch.randn(2, 8)
    weight, bias = torch.randn(8), torch.randn(8)
    both = ops.modulated_layer_norm(x, scale, shift, weight, bias, eps=1e-6)
    one_by_one = ops.modulate(ops.layer_norm(x, weight, bias, eps=1e-6, backend="reference"), scale, shift)
    torch.testing.assert_close(both, one_by_one, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 7, 3, 16), (1, 13, 5, 64)], ids=str)
def test_rotary(shape, dtype):
    angle = torch.randn(shape[1], shape[-1] // 2) * 10
    x = strided(*shape, dtype=dtype)
    compare(lambda x, backend: ops.apply_rotary(x, angle.cos(), angle.sin(), backend=backend), (x,), dtype)


def test_rotary_turns_pairs():
    quarter = torch.tensor([[torch.pi / 2]])
    out = ops.apply_rotary(torch.tensor([3.0, 4.0]).view(1, 1, 1, 2), quarter.cos(), quarter.sin())
    torch.testing.assert_close(out.flatten(), torch.tensor([-4.0, 3.0]))


@pytest.mark.parametrize("mask", [None, "boolean", "additive"])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (7, 13), (65, 31)])
def test_attention(queries, keys, mask):
    q = strided(2, queries, 3, 16, dtype=torch.float32)
    k, v = (strided(2, keys, 3, 16, dtype=torch.float32) for _ in range(2))
    allowed = torch.rand(2, 1, queries, keys) > 0.3
    allowed[..., 0] = True
    given = {None: None, "boolean": allowed, "additive": torch.randn(2, 3, queries, keys)}[mask]
    compare(
        lambda q, k, v, backend: ops.attention(q, k, v, mask=given, backend=backend), (q, k, v), torch.float32
    )
    compare(
        lambda q, k, v, backend: ops.attention(q, k, v, scale=0.3, backend=backend), (q, k, v), torch.float32
    )


def test_attention_in_low_precision():
    q, k, v = (strided(2, 17, 3, 16, dtype=torch.bfloat16) for _ in range(3))
    compare(ops.attention, (q, k, v), torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        compare(ops.attention, (q, k, v), torch.bfloat16)
        assert ops.attention(q.requires_grad_(), k, v).dtype == torch.bfloat16


@pytest.mark.parametrize("tanh", [False, True])
def test_activations(tanh):
    x = torch.randn(3, 5, 14) * 4
    compare(lambda x, backend: ops.gelu(x, tanh=tanh, backend=backend), (x,), torch.float32)
    compare(ops.geglu, (x,), torch.float32)
    compare(ops.silu, (x,), torch.float32)


@pytest.mark.parametrize("backend", ["flash", "cuda", ""])
def test_an_unknown_backend_is_refused(backend):
    x = torch.randn(1, 2, 3, 4)
    with pytest.raises(ValueError, match="choose one of: auto, torch, flash3, flash2, cudnn, torch-flash"):
        ops.attention(x, x, x, backend=backend)
    with pytest.raises(ValueError, match="choose one of: auto, torch, triton, reference"):
        ops.layer_norm(x, backend=backend)


def test_triton_asked_for_where_it_cannot_run_is_refused(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    x = torch.randn(1, 2, 3, 16)
    with pytest.raises(ValueError, match=r"backend 'triton' is not available: (.*'cpu'|.*not installed)"):
        ops.attention(x, x, x, backend="triton")
    with pytest.raises(ValueError, match=r"backend 'triton' is not available: (.*'cpu'|.*not installed)"):
        ops.layer_norm(x, backend="triton")


@pytest.mark.parametrize("groups", [1, 3, 6])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_modulation_of_groups_of_tokens(groups, dtype):
    x, update = (strided(2, 6, 10, dtype=dtype) for _ in range(2))
    scale, shift, gate = (torch.randn(2, groups, 10).to(dtype) for _ in range(3))
    weight, bias = torch.randn(2, 10).to(dtype).unbind()
    compare(ops.modulate, (x, scale, shift), dtype)
    compare(ops.gated_residual, (x, gate, update), dtype)

    def both(x, gate, update, scale, shift, weight, bias, backend):
        streams = ops.gated_residual_norm(x, gate, update, (scale, shift), (weight, bias), backend=backend)
        return torch.cat(streams, dim=-1)

    compare(both, (x, gate, update, scale, shift, weight, bias), dtype)


@pytest.mark.parametrize("shape", [(3, 10), (2, 4, 10), (2, 6, 9), (2, 1, 1, 10)], ids=str)
def test_a_modulation_that_does_not_fit_is_refused(shape):
    x = torch.randn(2, 6, 10)
    with pytest.raises(ValueError, match=r"must be \(B, D\) or \(B, G, D\), G a divisor of 6"):
        ops.modulate(x, torch.randn(shape), torch.randn(shape))


def test_norm_modules_are_the_ops():
    x = torch.randn(2, 6, 8)
    for module in (LayerNorm(8, eps=1e-6), LayerNorm(8, affine=False), RMSNorm(8), GroupNorm(3, 6)):
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter)
        assert module(x).shape == x.shape
    norm = LayerNorm(8, eps=1e-3)
    assert torch.equal(norm(x), ops.layer_norm(x, norm.weight, norm.bias, eps=1e-3))


def test_a_compiled_rotation_is_the_eager_one():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 7, 3, 8, generator=generator)
    angles = torch.randn(7, 4, generator=generator)
    compiled = torch.compile(ops.apply_rotary, backend="eager", fullgraph=True)
    expected = ops.apply_rotary(x, angles.cos(), angles.sin())
    assert torch.allclose(compiled(x, angles.cos(), angles.sin()), expected, atol=1e-6)


def test_memory_is_reused_only_without_gradients_and_only_if_allowed():
    x, update = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    gate, scale, shift = torch.randn(3, 2, 8)
    expected = ops.gated_residual(x, gate, update), ops.gelu(x, tanh=True)
    kept = update.clone(), x.clone()
    assert ops.gated_residual(x, gate, update, reuse=True).data_ptr() != update.data_ptr()
    with torch.no_grad():
        ops.gated_residual(x, gate, update)
        ops.gelu(x, tanh=True)
        assert torch.equal(update, kept[0])
        assert torch.equal(x, kept[1])
        half = ops.gated_residual(x, gate, update.bfloat16(), reuse=True)
        assert half.dtype == torch.float32
        stream, normed = ops.gated_residual_norm(x, gate, update, (scale, shift), reuse=True)
        assert stream.data_ptr() == update.data_ptr()
        assert torch.equal(stream, expected[0])
        assert torch.equal(normed, ops.modulated_layer_norm(expected[0], scale, shift))
        spaced = torch.randn(2, 6)[:, ::2]
        assert ops.gelu(spaced, reuse=True).data_ptr() != spaced.data_ptr()
        active = ops.gelu(x, tanh=True, reuse=True)
        assert active.data_ptr() == x.data_ptr()
        assert torch.equal(active, expected[1])
