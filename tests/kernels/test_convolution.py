"""Convolutions against torch's, at the sizes where they take another way."""

import pytest
import torch
import torch.nn.functional as F

from ea_kernels import ops, winograd

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


SHARED = [
    # batch, inputs, outputs, frames, height, width, taps, padding, axis
    (1, 64, 64, 6, 24, 24, (3, 3, 3), (0, 1, 1), winograd.TIME),
    (2, 64, 96, 10, 17, 19, (3, 3, 3), (0, 1, 1), winograd.TIME),
    (1, 64, 64, 6, 28, 25, (3, 3, 3), (0, 0, 0), winograd.TIME),
    (1, 64, 128, 6, 23, 23, (3, 2, 2), (0, 1, 1), winograd.TIME),
    (1, 96, 64, 6, 32, 32, (3, 1, 1), (0, 0, 0), winograd.TIME),
    (1, 128, 128, 4, 32, 33, (3, 3, 3), (0, 1, 1), winograd.ROWS),
    (2, 128, 160, 3, 36, 32, (2, 3, 3), (0, 1, 1), winograd.ROWS),
    (1, 128, 128, 3, 46, 48, (1, 3, 3), (0, 0, 0), winograd.ROWS),
]


def _clip(*shape):
    return torch.randn(shape).contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("band", [1, 20_000, winograd.BAND])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs", "frames", "height", "width", "taps", "padding", "axis"), SHARED
)
def test_half_the_products_give_the_same_result(
    batch, inputs, outputs, frames, height, width, taps, padding, axis, band, monkeypatch
):
    monkeypatch.setattr(winograd, "BAND", band)
    torch.manual_seed(0)
    x = _clip(batch, inputs, frames, height, width) + 1
    weight, bias = torch.randn(outputs, inputs, *taps) / (inputs * 27) ** 0.5, torch.randn(outputs)
    with torch.no_grad():
        assert winograd.axis_to_share(x, weight, padding) == axis
        found = ops.conv3d(x, weight, bias, padding=padding)
        direct = torch.ops.aten.mkldnn_convolution(x, weight, bias, padding, (1, 1, 1), (1, 1, 1), 1)
        truth = F.conv3d(x.double(), weight.double(), bias.double(), padding=padding)
        without = ops.conv3d(x, weight, padding=padding)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    assert not torch.equal(found, direct)
    near = {"rtol": 0, "atol": 1e-5 * float(truth.abs().max()), "check_dtype": False}
    torch.testing.assert_close(found, truth, **near)
    torch.testing.assert_close(without, truth - bias.view(-1, 1, 1, 1), **near)


def test_frames_that_resemble_each_other_are_more_exact_than_in_a_direct_convolution():
    torch.manual_seed(0)
    x = (_clip(1, 128, 1, 16, 16) + 0.05 * _clip(1, 128, 18, 16, 16)).contiguous(
        memory_format=torch.channels_last_3d
    )
    weight = torch.randn(128, 128, 3, 3, 3) / 60
    truth = F.conv3d(x.double(), weight.double(), padding=(0, 1, 1))
    direct = torch.ops.aten.mkldnn_convolution(x, weight, None, (0, 1, 1), (1, 1, 1), (1, 1, 1), 1)
    with torch.no_grad():
        found = ops.conv3d(x, weight, padding=(0, 1, 1))

    def error(y):
        return float((y - truth).square().mean().sqrt())

    assert error(found) < error(direct)


@pytest.mark.parametrize(
    ("change", "padding", "stride"),
    [
        pytest.param(lambda x, w: (x[:, :, :5], w), (0, 1, 1), 1, id="three frames of few channels"),
        pytest.param(lambda x, w: (x[:, :32], w[:, :32]), (0, 1, 1), 1, id="few channels"),
        pytest.param(lambda x, w: (x[..., :8, :8].clone(), w), (0, 1, 1), 1, id="few pixels"),
        pytest.param(lambda x, w: (x.contiguous(), w), (0, 1, 1), 1, id="channels first"),
        pytest.param(lambda x, w: (x[..., 1:], w), (0, 1, 1), 1, id="a part of a clip"),
        pytest.param(lambda x, w: (x, w), (1, 1, 1), 1, id="zeros around the frames"),
        pytest.param(lambda x, w: (x, w), (0, 1, 1), 2, id="stride"),
    ],
)
def test_other_convolutions_are_direct(change, padding, stride, monkeypatch):
    monkeypatch.setattr("ea_kernels.convolution.shared_convolution", None)
    torch.manual_seed(0)
    x, weight = change(_clip(1, 64, 6, 24, 24), torch.randn(64, 64, 3, 3, 3))
    with torch.no_grad():
        found = ops.conv3d(x, weight, stride=(stride,) * 3, padding=padding)
    expected = F.conv3d(x, weight, stride=stride, padding=padding)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_a_convolution_that_is_trained_is_direct(monkeypatch):
    monkeypatch.setattr("ea_kernels.convolution.shared_convolution", None)
    weight = torch.randn(64, 64, 3, 3, 3, requires_grad=True)
    ops.conv3d(_clip(1, 64, 6, 24, 24), weight, padding=(0, 1, 1)).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("shape", [(1, 3, 5, 8, 8), (1, 64, 6, 24, 24)])
def test_a_compiled_convolution_is_torchs(shape):
    torch._dynamo.reset()
    x, weight = _clip(*shape), torch.randn(shape[1], shape[1], 3, 3, 3) / 30
    compiled = torch.compile(ops.conv3d, backend="aot_eager", fullgraph=True)
    expected = F.conv3d(x, weight, padding=(0, 1, 1))
    torch.testing.assert_close(compiled(x, weight, padding=(0, 1, 1)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [8, 64])
def test_weights_and_bias_of_any_strides_count(size):
    torch.manual_seed(0)
    x, weight = _clip(1, size, 6, 24, 24), torch.randn(size, size, 3, 3, 6)[..., ::2] / 30
    for bias in (torch.randn(2 * size)[::2], torch.randn(1).expand(size), torch.randn(size).flip(0)):
        expected = F.conv3d(x, weight, bias, padding=(0, 1, 1))
        with torch.no_grad():
            found = ops.conv3d(x, weight, bias, padding=(0, 1, 1))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_clip_without_a_batch_is_convolved_as_by_torch():
    x, weight, bias = torch.randn(3, 4, 6, 6), torch.randn(2, 3, 3, 3, 3), torch.randn(2)
    torch.testing.assert_close(ops.conv3d(x, weight, bias), F.conv3d(x, weight, bias))
    with pytest.raises(RuntimeError, match="dimensions"):
        ops.conv3d(x[None], weight[:, :, 0])
