"""Convolutions of clips whose pixels or frames were repeated, done without repeating them.

A kernel that slides over repeated values meets the same value twice: the two weights can be added ahead.
For each axis that doubles, 3 taps become 2, different ones for the first and the second copy. Over height and
width that leaves 4 of 9 products, over time 2 of 3; the result differs by rounding only.

Shape letters: B batch, O and I output and input channels, T frames, H height, W width; k, l copies, r, s
the taps that are left.
"""

import torch
from torch import Tensor

from ea_kernels.ops import conv2d, conv3d
from ea_vae.layers.layout import empty_clip

_CENTRED = ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0)), ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0))
"""[copy][tap left][tap] around each pixel: the first copy meets the pixel before and, twice, its own."""

_PAST = ((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)), ((1.0, 0.0, 0.0), (0.0, 1.0, 1.0))
"""The same up to each frame: the first copy meets the frame before twice, then its own."""


def conv_of_doubled_space(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What a convolution makes of a clip or picture after every pixel was repeated to a square of 2 x 2.

    Args:
        x: [B, I, T, H, W] with the frames that the kernel needs around it, or [B, I, H, W].
        weight: [O, I, t, 3, 3] or [O, I, 3, 3]; H and W are padded by one zero.
        bias: [O].

    Returns:
        [B, O, T - t + 1, 2 H, 2 W] or [B, O, 2 H, 2 W].
    """
    exact = weight.to(torch.promote_types(weight.dtype, torch.float32))
    picks = torch.tensor(_CENTRED, device=exact.device, dtype=exact.dtype)
    kernels = torch.einsum("krh,lsw,...hw->kl...rs", picks, picks, exact).to(weight.dtype)
    # One convolution makes all four copies. Its result has a row and a column more than x: copies that lie
    # before a pixel leave out the last, those after it the first.
    conv = conv3d if x.ndim == 5 else conv2d
    padding = (0, 1, 1)[5 - x.ndim :]
    four = conv(x, kernels.flatten(0, 2), None if bias is None else bias.repeat(4), padding=padding)
    height, width = x.shape[-2:]
    shape = (x.shape[0], weight.shape[0], *four.shape[2:-2], 2 * height, 2 * width)
    out = empty_clip(*shape, like=four)
    for copy, part in enumerate(four.chunk(4, dim=1)):
        down, right = divmod(copy, 2)
        out[..., down::2, right::2] = part[..., down : down + height, right : right + width]
    return out


def conv_of_doubled_time(x_BITHW: Tensor, weight_OI333: Tensor, bias_O: Tensor | None) -> Tensor:
    """What a causal convolution makes of a clip after every frame was repeated.

    Args:
        x_BITHW: The frame before the clip, and the clip.
        weight_OI333: H and W are padded by one zero.
        bias_O: Added.

    Returns:
        [B, O, 2 (T - 1), H, W].
    """
    exact = weight_OI333.to(torch.promote_types(weight_OI333.dtype, torch.float32))
    picks = torch.tensor(_PAST, device=exact.device, dtype=exact.dtype)
    kernels = torch.einsum("krt,oithw->koirhw", picks, exact).to(weight_OI333.dtype)
    bias = None if bias_O is None else bias_O.repeat(2)
    two = conv3d(x_BITHW, kernels.flatten(0, 1), bias, padding=(0, 1, 1))
    return interleave_frames(*two.chunk(2, dim=1))


def interleave_frames(even_BCTHW: Tensor, odd_BCTHW: Tensor) -> Tensor:
    """The frames of two clips in turns, [B, C, 2T, H, W], in the memory format of the clips."""
    batch, channels, frames, *sides = even_BCTHW.shape
    out = empty_clip(batch, channels, 2 * frames, *sides, like=even_BCTHW)
    out[:, :, 0::2] = even_BCTHW
    out[:, :, 1::2] = odd_BCTHW
    return out
