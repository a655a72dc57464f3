"""Norms, heads, activations at inputs that are no fun: every output and gradient, by kernels and by torch."""

from functools import partial

import pytest
import torch
from kernel_cases import compare, compare_values, need_triton

from ea_kernels import ops

R = partial(torch.randn, generator=torch.Generator().manual_seed(0))
BF16, HALF = torch.bfloat16, torch.float16
WIDTHS = (64, 72, 80, 88, 96, 112, 128)
"""Of heads; those between powers of two leave a part of a tile empty."""


@pytest.fixture(params=["triton", "torch"])
def backend(request):
    if request.param == "triton":
        need_triton("cpu")
    return request.param


def fused(x, gate, update, scale, shift, weight=None, bias=None, *, backend):
    return ops.gated_residual_norm(x, gate, update, (scale, shift), (weight, bias), backend=backend)


def norm_heads(x, weight, bias, *, backend, rope=None, rms=False):
    return ops.norm_heads(x, ops.HeadNorm(weight, bias, 1e-6, rms), rope, backend=backend)


def join(text, video, w, b, v, c, *, backend, rope=None):
    norms = {"text_norm": ops.HeadNorm(w, b, 1e-6), "video_norm": ops.HeadNorm(v, c, 1e-6)}
    return ops.join_heads(text, video, **norms, rope=rope, backend=backend)


def group_norm(x, weight=None, bias=None, *, backend, groups=3, per_frame=False):
    return ops.group_norm_silu(x, groups, weight, bias, per_frame=per_frame, backend=backend)


def expanded(function, *shapes):
    """A function whose inputs are expanded: one number in memory counts for many."""

    def run(*inputs, backend):
        return function(*(x.expand(s) for x, s in zip(inputs, shapes, strict=True)), backend=backend)

    return run


def turned(x):
    """The same shape, with the last axis the slowest in memory."""
    return x.movedim(-1, 0).contiguous().movedim(0, -1)


def four(width):
    """Weights and biases of two streams."""
    return R(4, width).unbind()


def rope(tokens, width):
    angles = R(tokens, width // 2) * 10
    return angles.cos(), angles.sin()


def of(dtype, *inputs):
    return tuple(x.to(dtype) for x in inputs)


BLD, BD = (2, 6, 24), (2, 24)
NORMS = {
    "no tokens, one group": (ops.modulated_layer_norm, (R(2, 0, 8), R(2, 8), R(2, 8), R(8), R(8))),
    "no tokens, a modulation for each": (ops.modulated_layer_norm, (R(2, 0, 8), R(2, 0, 8), R(2, 0, 8))),
    "no tokens, a gate for each": (ops.gated_residual, (R(2, 0, 8), R(2, 0, 8), R(2, 0, 8))),
    "no tokens, both": (fused, (R(2, 0, 8), R(2, 0, 8), R(2, 0, 8), R(2, 0, 8), R(2, 0, 8))),
    "no samples": (ops.layer_norm, (R(0, 5, 24), R(24), R(24))),
    "expanded": (
        expanded(fused, BLD, (2, 1, 24), BLD, BD, BD),
        (R(1, 1, 24), R(1, 1, 1), R(2, 1, 24), R(2, 1), R(1, 24)),
    ),
    "turned": (fused, (turned(R(BLD)), turned(R(BD)), turned(R(BLD)), turned(R(BD)), R(BD))),
    "one number for all channels": (ops.modulated_layer_norm, (R(BLD), R(2, 1), R(2, 1))),
    "gates of three kinds": (fused, (R(BLD), R(1, 6, 24), R(BLD), R(1, 1, 24), R(2, 3, 1), R(24))),
    "every other parameter": (ops.modulated_layer_norm, (R(BLD), R(BD), R(BD), R(48)[::2], R(48)[::2])),
    "bias alone": (lambda x, b, backend: ops.layer_norm(x, None, b, backend=backend), (R(BLD), R(24))),
    "one axis": (ops.layer_norm, (R(24), R(24), R(24))),
    "huge": (fused, (R(BLD) * 1e15, R(BD), R(BLD) * 1e15, R(BD), R(BD))),
    "tiny": (fused, (R(BLD) * 1e-15, R(BD), R(BLD) * 1e-15, R(BD), R(BD))),
    "bfloat16": (fused, of(BF16, R(BLD), R(BD), R(BLD), R(BD), R(BD), R(24), R(24))),
    "large float16": (fused, of(HALF, R(BLD) * 1e4, R(BD), R(BLD) * 1e2, R(BD), R(BD))),
    "float16, parameters in float32": (ops.layer_norm, (R(BLD).half(), R(24), R(24))),
    "rms: every other weight": (ops.rms_norm, (R(BLD), R(48)[::2])),
    "rms: no samples": (ops.rms_norm, (R(0, 5, 24), R(24))),
    "rms: float16, weight in float32": (ops.rms_norm, (R(BLD).half(), R(24))),
    "rms: bfloat16": (ops.rms_norm, of(BF16, R(BLD), R(24))),
    "rms: huge": (ops.rms_norm, (R(BLD) * 1e15, R(24))),
}
HEADS = {
    **{
        f"width {w}": (
            partial(join, rope=rope(5, w)),
            (R(1, 2, 1, w), R(1, 5, 1, w), *four(w)),
        )
        for w in WIDTHS
    },
    "every other parameter": (norm_heads, (R(2, 5, 2, 24), R(48)[::2], R(48)[::2])),
    "joined, every other": (join, (R(2, 3, 2, 24), R(2, 5, 2, 24), *(p[::2] for p in four(48)))),
    "no samples": (norm_heads, (R(0, 5, 2, 24), R(24), R(24))),
    "joined, no samples": (join, (R(0, 3, 2, 24), R(0, 5, 2, 24), *four(24))),
    "no text": (join, (R(2, 0, 2, 24), R(2, 5, 2, 24), *four(24))),
    "no video": (join, (R(2, 3, 2, 24), R(2, 0, 2, 24), *four(24))),
    "heads before tokens": (
        join,
        (R(2, 2, 3, 24).transpose(1, 2), R(2, 2, 5, 24).transpose(1, 2), *four(24)),
    ),
    "one text for all": (
        expanded(join, (2, 3, 2, 24), (2, 5, 2, 24), *[(24,)] * 4),
        (R(1, 3, 1, 24), R(2, 5, 2, 24), R(24), R(1), R(24), R(1)),
    ),
    "one angle for all tokens": (partial(norm_heads, rope=rope(1, 16)), (R(2, 5, 2, 16), R(16), R(16))),
    "turned angles": (
        partial(norm_heads, rope=tuple(map(turned, rope(5, 16)))),
        (R(2, 5, 2, 16), R(16), R(16)),
    ),
    "bfloat16": (join, of(BF16, R(2, 3, 2, 24), R(2, 5, 2, 24), *four(24))),
}
CLIP = (2, 6, 2, 3, 3)
OTHERS = {
    "every other parameter": (group_norm, (R(CLIP), R(12)[::2], R(12)[::2])),
    "one weight for all": (expanded(group_norm, CLIP, (6,), (6,)), (R(CLIP), R(1), R(1))),
    "one group": (partial(group_norm, groups=1), (R(CLIP), R(6), R(6))),
    "a group for each channel": (partial(group_norm, groups=6), (R(CLIP), R(6), R(6))),
    "no affine": (group_norm, (R(CLIP),)),
    "weight alone": (group_norm, (R(CLIP), R(6))),
    "part of a clip": (
        partial(group_norm, per_frame=True),
        (R(2, 6, 4, 7, 7)[:, :, 1:3, ::2, 1:], R(6), R(6)),
    ),
    "float16": (partial(group_norm, per_frame=True), of(HALF, R(CLIP) * 3, R(6), R(6))),
    "bfloat16": (group_norm, of(BF16, R(CLIP), R(6), R(6))),
    "gelu: expanded": (expanded(ops.gelu, (3, 5, 7), (7,)), (R(1, 5, 1), R(1))),
    "gelu: turned": (ops.gelu, (R(5, 7, 3).transpose(0, 2), R(10)[::2])),
    "gelu: nothing": (ops.gelu, (R(3, 0, 7), R(7))),
    "gelu: a number": (ops.gelu, (R(()),)),
    "gelu: bfloat16": (ops.gelu, of(BF16, R(3, 5, 7), R(7))),
    "geglu: turned": (ops.geglu, (R(14, 7, 3).transpose(0, 2),)),
    "geglu: nothing": (ops.geglu, (R(3, 0, 14),)),
    "geglu: bfloat16": (ops.geglu, (R(3, 14).to(BF16),)),
}


@pytest.mark.parametrize(("function", "inputs"), NORMS.values(), ids=NORMS)
def test_norms(function, inputs, backend):
    compare(function, inputs, backend=backend)


@pytest.mark.parametrize(("function", "inputs"), HEADS.values(), ids=HEADS)
def test_heads(function, inputs, backend):
    compare(function, inputs, backend=backend)


@pytest.mark.parametrize(("function", "inputs"), OTHERS.values(), ids=OTHERS)
def test_group_norms_and_activations(function, inputs, backend):
    compare(function, inputs, backend=backend)


@pytest.mark.parametrize("cases", [NORMS, HEADS, OTHERS], ids=["norms", "heads", "others"])
def test_values_where_no_gradient_is_wanted(cases):
    for function, inputs in cases.values():
        compare_values(function, inputs, backend="torch")  # which writes over its own results then


@pytest.mark.parametrize("kind", [HALF, BF16, torch.float32], ids=str)
def test_results_have_the_dtype_of_the_stream(backend, kind):
    x, scale, shift = R(BLD).to(kind), R(BD), R(BD)
    assert ops.modulate(x, scale, shift, backend=backend).dtype == kind
    assert ops.modulated_layer_norm(x, scale, shift, backend=backend).dtype == kind
    assert ops.gated_residual(x, scale, x.float(), backend=backend).dtype == kind


@pytest.mark.parametrize("shape", [(0, 6, 2, 3, 3), (2, 6, 0, 3, 3), (2, 6, 2, 0, 3)], ids=str)
def test_group_norm_of_nothing(shape, backend):
    x = R(shape)
    for per_frame in (False, True):
        assert ops.group_norm_silu(x, 3, R(6), per_frame=per_frame, backend=backend).shape == shape
    assert ops.group_norm(x, 3, backend=backend).shape == shape


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # the interpreter computes with numpy
@pytest.mark.parametrize("tanh", [False, True])
def test_gelu_of_numbers_whose_squares_are_infinite(tanh):
    need_triton("cpu")
    x = torch.tensor([-1e30, -1e20, 1e20, 1e30], requires_grad=True)
    out = ops.gelu(x, tanh=tanh, backend="triton")
    (grad,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(out, x.clamp_min(0))
    assert torch.equal(grad, (x > 0).float())


ROWS, ROW = (1, 2, 8), (1, 8)
CALLS = {
    "modulated_layer_norm": (ops.modulated_layer_norm, (R(ROWS), R(ROW), R(ROW), R(8), R(8))),
    "gated_residual": (ops.gated_residual, (R(ROWS), R(ROW), R(ROWS))),
    "gated_residual_norm": (
        lambda *given, backend: torch.cat(fused(*given, backend=backend)),
        (R(ROWS), R(ROW), R(ROWS), R(ROW), R(ROW), R(8), R(8)),
    ),
    "rms_norm": (ops.rms_norm, (R(ROWS), R(8))),
    "join_heads": (join, (R(1, 1, 1, 8), R(1, 2, 1, 8), *four(8))),
    "group_norm_silu": (group_norm, (R(1, 1, 2, 2, 6).movedim(-1, 1), R(6), R(6))),
    "gelu": (ops.gelu, (R(3, 7), R(7))),
    "geglu": (ops.geglu, (R(3, 14),)),
    "attention": (ops.attention, (R(1, 2, 1, 16), R(1, 3, 1, 16), R(1, 3, 1, 16))),
    "join_frames": (
        lambda p, x, backend: ops.join_frames(p, x, keep=1, backend=backend)[0],
        (R(1, 2, 2, 3, 3), R(1, 2, 1, 3, 3)),
    ),
}
KEPT = {
    **dict.fromkeys(("modulated_layer_norm", "rms_norm", "group_norm_silu", "gelu", "geglu"), 0),
    "gated_residual": 2,
    "gated_residual_norm": 2,
    "join_heads": 1,
    "attention": 2,
}
"""An input that the backward pass reads, which nobody may change before."""


@pytest.mark.parametrize(("function", "inputs"), CALLS.values(), ids=CALLS)
def test_a_gradient_does_not_depend_on_who_else_wants_one(function, inputs, backend):
    def gradients(*wanted):
        leaves = [x.clone().requires_grad_(i in wanted) for i, x in enumerate(inputs)]
        out = function(*leaves, backend=backend)
        seen = torch.linspace(-1, 1, out.numel()).view(out.shape)
        return torch.autograd.grad((out * seen).sum(), [leaves[i] for i in wanted])

    together = gradients(*range(len(inputs)))
    for index, expected in enumerate(together):
        torch.testing.assert_close(*gradients(index), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_keeps_nothing_of_an_earlier_one(name, backend):
    function, given = CALLS[name]
    given = [x.clone() for x in given]
    first = function(*given, backend=backend)
    for x in given:
        x.mul_(2)
    second = function(*given, backend=backend)
    assert not torch.equal(first, second)
    for x in given:
        x.div_(2)
    assert torch.equal(function(*given, backend=backend), first)


@pytest.mark.parametrize("name", KEPT)
def test_inputs_that_change_before_the_backward_pass_are_noticed(name):
    need_triton("cpu")
    function, inputs = CALLS[name]
    given = [x.clone().requires_grad_() * 1 for x in inputs]

    def change_between():
        out = function(*given, backend="triton")
        given[KEPT[name]].add_(1)
        out.sum().backward()

    with pytest.raises(RuntimeError, match=r"modified (by an )?in-?place"):
        change_between()
