"""Convolutions of repeated pixels and frames against repeating them."""

import pytest
import torch
import torch.nn.functional as F

from ea_vae.layers.causal_conv import CausalConv3d, double_frames
from ea_vae.layers.norm import ClipGroupNorm
from ea_vae.layers.repeated import conv_of_doubled_space, conv_of_doubled_time
from ea_vae.layers.streaming import TemporalCache, TemporalStream, ZeroPass

CLIPS = [(1, 3, 5, 3, 1, 2), (2, 4, 7, 4, 5, 3), (1, 2, 1, 3, 7, 1)]
"""B, I, O, T, H, W."""


def make(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)


@pytest.mark.parametrize(("batch", "inputs", "outputs", "frames", "height", "width"), CLIPS)
def test_a_convolution_of_doubled_pixels_is_done_on_the_single_ones(
    batch, inputs, outputs, frames, height, width
):
    x, bias = make((batch, inputs, frames, height, width)), make((outputs,))
    weight = make((outputs, inputs, 3, 3, 3))
    found = conv_of_doubled_space(x, weight, bias)
    torch.testing.assert_close(
        found, F.conv3d(doubled(x), weight, bias, padding=(0, 1, 1)), rtol=0, atol=1e-5
    )
    picture = conv_of_doubled_space(x[:, :, 0], weight[:, :, 0], None)
    expected = F.conv2d(doubled(x[:, :, 0]), weight[:, :, 0], padding=1)
    torch.testing.assert_close(picture, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("batch", "inputs", "outputs", "frames", "height", "width"), CLIPS)
def test_a_causal_convolution_of_doubled_frames_is_done_on_the_single_ones(
    batch, inputs, outputs, frames, height, width
):
    x, bias = make((batch, inputs, frames + 1, height, width)), make((outputs,))
    weight = make((outputs, inputs, 3, 3, 3))
    repeated = x.repeat_interleave(2, dim=2)  # both copies of the frame before the clip are its past
    expected = F.conv3d(repeated, weight, bias, padding=(0, 1, 1))
    torch.testing.assert_close(conv_of_doubled_time(x, weight, bias), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("convolve", [conv_of_doubled_space, conv_of_doubled_time])
def test_gradients_reach_the_pixels_and_the_kernel_as_it_is_stored(convolve):
    x, weight = make((1, 2, 3, 3, 4)).requires_grad_(), make((3, 2, 3, 3, 3)).requires_grad_()
    repeated = doubled(x) if convolve is conv_of_doubled_space else x.repeat_interleave(2, dim=2)
    plain = F.conv3d(repeated, weight, padding=(0, 1, 1))
    expected = torch.autograd.grad(plain.square().sum(), (x, weight))
    found = torch.autograd.grad(convolve(x, weight, None).square().sum(), (x, weight))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-4)


def test_the_memory_format_stays():
    x = make((1, 4, 3, 4, 5), torch.float32).contiguous(memory_format=torch.channels_last_3d)
    weight = make((6, 4, 3, 3, 3), torch.float32).contiguous(memory_format=torch.channels_last_3d)
    found = conv_of_doubled_space(x, weight, None)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("norm", [None, ClipGroupNorm(1, 3, per_frame=True)])
@pytest.mark.parametrize("single_start", [False, True])
@pytest.mark.parametrize("lengths", [(1, 2, 2), (5,), (1, 4), (3, 1, 1)])
def test_slices_of_a_clip_of_doubled_frames_make_the_whole(lengths, single_start, norm):
    conv, x = CausalConv3d(3, 4), make((1, 3, 5, 4, 4), torch.float32)

    def stream() -> TemporalStream:
        return TemporalStream(TemporalCache(), single_start=single_start)

    with torch.no_grad():
        expected = conv(double_frames(x, stream()), stream(), norm=norm)
        cache, parts = TemporalCache(), []
        for part in x.split(lengths, dim=2):
            one = TemporalStream(cache, single_start=single_start)
            parts.append(conv.of_doubled_time(part, one, norm=norm))
            cache = one.finish()
    torch.testing.assert_close(torch.cat(parts, dim=2), expected, rtol=0, atol=1e-5)
    with torch.enable_grad():
        again = conv.of_doubled_time(x, stream(), norm=norm)
    torch.testing.assert_close(again, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("keeps_first", [False, True])
def test_black_frames_around_doubled_ones_are_not_doubled(keeps_first):
    conv, x, around = (
        CausalConv3d(3, 4),
        make((1, 3, 3, 4, 4), torch.float32),
        ZeroPass(keeps_first=keeps_first),
    )
    repeated = double_frames(x, around)
    norm = ClipGroupNorm(3, 3, per_frame=True)
    expected = F.conv3d(F.silu(norm(repeated)), conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(conv.of_doubled_time(x, around, norm=norm), expected, rtol=0, atol=1e-5)


def test_a_cache_keeps_the_tail_of_a_slice_and_not_the_slice():
    conv, stream = CausalConv3d(2, 2), TemporalStream(TemporalCache())
    conv(make((1, 2, 9, 4, 4), torch.float32), stream)
    (tail,) = stream.finish().tails
    assert tail.untyped_storage().nbytes() == 4 * 2 * 2 * 4 * 4
