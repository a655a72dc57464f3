"""Flash attention by Triton, against the reference."""

import pytest
import torch
from kernel_cases import DEVICES, TYPES, compare, need_triton, strided

from ea_kernels import ops

# One query, one key; ragged tiles; fewer keys than a tile; head widths between powers of two.
SHAPES = [(1, 1, 16), (17, 37, 24), (33, 7, 64)]
REAL = [(1331, 1331, 64), (257, 515, 128), (300, 300, 72)]


def qkv(queries, keys, width, dtype, device, batch=2, heads=2):
    q = strided(batch, queries, heads, width, dtype=dtype, device=device)
    k, v = (strided(batch, keys, heads, width, dtype=dtype, device=device) for _ in range(2))
    return q, k, v


@pytest.mark.parametrize(("device", "dtype"), TYPES)
def test_attention(device, dtype):
    need_triton(device)
    for queries, keys, width in [*SHAPES, *(REAL if device == "cuda" else ())]:
        inputs = qkv(queries, keys, width, dtype, device)
        compare(lambda q, k, v, backend: ops.attention(q, k, v, scale=0.3, backend=backend), inputs)


@pytest.mark.parametrize("device", DEVICES)
def test_padding_anywhere_in_the_keys(device):
    need_triton(device)
    inputs = qkv(17, 37, 16, torch.float32, device)
    mask = (torch.rand(2, 1, 1, 37) > 0.4).to(device)
    mask[..., 20] = True
    compare(lambda q, k, v, backend: ops.attention(q, k, v, mask=mask, backend=backend), inputs)
    compare(lambda q, k, v, backend: ops.attention(q, k, v, mask=mask[0, 0, 0], backend=backend), inputs)


@pytest.mark.parametrize("device", DEVICES)
def test_a_query_without_keys_gives_zeros_and_no_gradient(device):
    need_triton(device)
    q, k, v = (x.requires_grad_() for x in qkv(5, 9, 16, torch.float32, device))
    mask = torch.zeros(2, 1, 1, 9, dtype=torch.bool, device=device)
    mask[0] = True
    out = ops.attention(q, k, v, mask=mask, backend="triton")
    grads = torch.autograd.grad(out.sum(), (q, k, v))
    for tensor in (out, *grads):
        assert torch.isfinite(tensor).all()
        assert not tensor[1].any()
        assert tensor[0].any() or tensor is grads[0] or tensor is grads[1]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("window", [(0, 0), (5, 19), (40, 0), (100, 100)])
def test_sliding_window(device, window):
    need_triton(device)
    inputs = qkv(41, 41, 16, torch.float32, device, batch=1)
    compare(lambda q, k, v, backend: ops.window_attention(q, k, v, window=window, backend=backend), inputs)


@pytest.mark.parametrize("device", DEVICES)
def test_packed_sequences(device):
    need_triton(device)
    inputs = qkv(41, 44, 16, torch.float32, device, batch=1)
    lengths = {"query_lengths": [17, 0, 3, 21], "key_lengths": [20, 2, 1, 21]}
    compare(lambda q, k, v, backend: ops.packed_attention(q, k, v, **lengths, backend=backend), inputs)


@pytest.mark.parametrize("device", DEVICES)
def test_what_the_kernel_cannot_do_is_refused(device):
    need_triton(device)
    q, k, v = qkv(4, 4, 8, torch.float32, device)
    with pytest.raises(ValueError, match="head widths of 16 to 128, got 8"):
        ops.attention(q, k, v, backend="triton")
    q, k, v = qkv(4, 4, 16, torch.float32, device)
    with pytest.raises(ValueError, match="no mask but a boolean one over keys"):
        ops.attention(q, k, v, mask=torch.zeros(4, 4, device=device), backend="triton")


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["cudnn", "torch-flash", "efficient", "torch", "auto"])
def test_library_kernels_on_a_device(backend):
    inputs = qkv(515, 515, 64, torch.bfloat16, "cuda")
    compare(ops.attention, inputs, backend=backend)
