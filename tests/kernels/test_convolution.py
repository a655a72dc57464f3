"""Convolutions against torch's, at the sizes where they take another way."""

import pytest
import torch
import torch.nn.functional as F

from ea_kernels import ops

SHAPES = [(1, 3, 5, 3, 16, 16), (1, 3, 4, 6, 40, 40), (2, 7, 3, 3, 5, 9), (1, 1, 1, 3, 3, 3)]
"""B, I, O, T, H, W."""


@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("padding", [(0, 1, 1), (0, 0, 0)])
@pytest.mark.parametrize(("batch", "inputs", "outputs", "frames", "height", "width"), SHAPES)
def test_outputs_and_gradients_are_those_of_torch(
    batch, inputs, outputs, frames, height, width, stride, padding
):
    torch.manual_seed(0)
    x = torch.randn(batch, inputs, frames, height, width).transpose(3, 4).requires_grad_()
    weight, bias = (
        torch.randn(outputs, inputs, 3, 3, 3).requires_grad_(),
        torch.randn(outputs).requires_grad_(),
    )
    expected = F.conv3d(x, weight, bias, stride, padding)
    found = ops.conv3d(x, weight, bias, stride=stride, padding=padding)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    wanted = torch.autograd.grad(expected.square().sum(), (x, weight, bias))
    got = torch.autograd.grad(found.square().sum(), (x, weight, bias))
    for left, right in zip(got, wanted, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-3 * float(right.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_number_types_are_computed_by_torch(dtype):
    x, weight = torch.randn(1, 2, 3, 4, 4, dtype=dtype), torch.randn(3, 2, 3, 3, 3, dtype=dtype)
    assert torch.equal(ops.conv3d(x, weight), F.conv3d(x, weight))


def test_mixed_precision_lowers_a_convolution():
    x, weight = torch.randn(1, 2, 3, 4, 4), torch.randn(3, 2, 3, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ops.conv3d(x, weight).dtype == torch.bfloat16
        assert ops.conv2d(x[:, :, 0], weight[:, :, 0]).dtype == torch.bfloat16


def test_without_onednn_torch_computes(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    x, weight = torch.randn(1, 2, 3, 4, 4), torch.randn(3, 2, 3, 3, 3)
    assert torch.equal(ops.conv3d(x, weight), F.conv3d(x, weight))
