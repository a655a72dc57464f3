"""Halving and doubling of resolution and frame count."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ea_vae.layers.causal_conv import CausalConv3d
from ea_vae.layers.streaming import TemporalPass


class Downsampler(nn.Module):
    """Halve H and W, and with `halve_time` also T (a clip of 2n + 1 frames becomes n + 1).

    One zero row and column are added at the bottom and on the right only.
    """

    def __init__(self, channels: int, *, halve_time: bool) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels, stride=(2 if halve_time else 1, 2, 2), pad_end=True)

    def forward(self, x_BCTHW: Tensor, stream: TemporalPass | None = None) -> Tensor:
        """[B, C, T, H, W] -> [B, C, T', H/2, W/2]."""
        return self.conv(x_BCTHW, stream)


class Upsampler(nn.Module):
    """Double H and W, convolve, then with `linear_time` double the frames (the first of a clip stays single).

    Args:
        channels: Channels.
        linear_time: Interpolate between frames to double them. Where frames are repeated instead, the layer
            that comes next does it, with less work.
    """

    def __init__(self, channels: int, *, linear_time: bool) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, channels)
        self.linear_time = linear_time

    def forward(self, x_BCTHW: Tensor, stream: TemporalPass | None = None) -> Tensor:
        """[B, C, T, H, W] -> [B, C, T', 2H, 2W]; T' is T, 2T, or 2T - 1 if the first frame stays single."""
        x_BCTHW = self.conv.of_doubled_space(x_BCTHW, stream)
        if not self.linear_time:
            return x_BCTHW
        if stream is not None and not stream.keeps_first:
            return _interpolated(x_BCTHW)
        if x_BCTHW.shape[2] == 1:
            return x_BCTHW
        return torch.cat((x_BCTHW[:, :, :1], _interpolated(x_BCTHW[:, :, 1:])), dim=2)


def _interpolated(x_BCTHW: Tensor) -> Tensor:
    return F.interpolate(x_BCTHW, scale_factor=(2.0, 1.0, 1.0), mode="trilinear", align_corners=False)
