"""Activations by Triton, against the reference."""

import pytest
import torch
from kernel_cases import TYPES, compare, need_triton, strided

from ea_kernels import ops

SHAPES = [(1, 2), (3, 5, 14), (1, 1, 1030), (0, 8)]
REAL = [(1331, 12288)]


@pytest.mark.parametrize(("device", "dtype"), TYPES)
@pytest.mark.parametrize("tanh", [False, True])
def test_bias_and_gelu(device, dtype, tanh):
    need_triton(device)
    for shape in [*SHAPES, *(REAL if device == "cuda" else ())]:
        x = strided(*shape, dtype=dtype, device=device, scale=4)
        bias = torch.randn(shape[-1]).to(device, dtype)
        compare(lambda x, b, backend: ops.gelu(x, b, tanh=tanh, backend=backend), (x, bias))
        compare(lambda x, backend: ops.gelu(x, tanh=tanh, backend=backend), (x,))


@pytest.mark.parametrize(("device", "dtype"), TYPES)
def test_geglu(device, dtype):
    need_triton(device)
    for shape in [*SHAPES, *(REAL if device == "cuda" else ())]:
        compare(ops.geglu, (strided(*shape, dtype=dtype, device=device, scale=3),))


@pytest.mark.parametrize(("device", "dtype"), TYPES[:2])
def test_gelu_of_large_numbers_is_finite(device, dtype):
    need_triton(device)
    x = torch.tensor([[-1e4, -50.0, 0.0, 50.0, 1e4]], dtype=dtype, device=device, requires_grad=True)
    for tanh in (False, True):
        out = ops.gelu(x, tanh=tanh, backend="triton")
        (grad,) = torch.autograd.grad(out.float().sum(), x)
        assert out.flatten().tolist() == pytest.approx([0, 0, 0, 50, 1e4], abs=1e-3)
        assert torch.isfinite(grad).all()
