"""Residual layer of the video autoencoders."""

import torch.nn.functional as F
from torch import Tensor, nn

from ea_kernels.channels_last import is_channels_last
from ea_kernels.ops import writes_in_place
from ea_vae.layers.causal_conv import CausalConv3d, double_frames
from ea_vae.layers.norm import ClipGroupNorm
from ea_vae.layers.streaming import TemporalPass


class PointwiseConv3d(nn.Conv3d):
    """A 1x1x1 convolution: one product over the channels, which needs no copy where they come last."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, in_channels, T, H, W] -> [B, out_channels, T, H, W]."""
        if not is_channels_last(x_BCTHW):
            return super().forward(x_BCTHW)
        x_BTHWC = x_BCTHW.permute(0, 2, 3, 4, 1)
        return F.linear(x_BTHWC, self.weight.flatten(1), self.bias).permute(0, 4, 1, 2, 3)


class ResidualLayer(nn.Module):
    """Norm, SiLU, causal conv, twice; plus the input (through a pointwise conv where the channels change).

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        num_groups: Channel groups of both norms.
        per_frame_norm: See `ClipGroupNorm`.
    """

    def __init__(self, in_channels: int, out_channels: int, *, num_groups: int, per_frame_norm: bool) -> None:
        super().__init__()
        self.norm1 = ClipGroupNorm(num_groups, in_channels, per_frame=per_frame_norm)
        self.conv1 = CausalConv3d(in_channels, out_channels)
        self.norm2 = ClipGroupNorm(num_groups, out_channels, per_frame=per_frame_norm)
        self.conv2 = CausalConv3d(out_channels, out_channels)
        self.shortcut = (
            PointwiseConv3d(in_channels, out_channels) if in_channels != out_channels else nn.Identity()
        )

    def forward(
        self, x_BCTHW: Tensor, stream: TemporalPass | None = None, *, doubled: bool = False
    ) -> Tensor:
        """[B, in_channels, T, H, W] -> [B, out_channels, T, H, W].

        Args:
            x_BCTHW: The slice.
            stream: What it sees of the frames around it.
            doubled: Whether to take every frame twice, see `double_frames`; for norms per frame. The result
                has the frames of the doubled slice.
        """
        if doubled:
            h_BCTHW = self.conv1.of_doubled_time(x_BCTHW, stream, norm=self.norm1)
            x_BCTHW = double_frames(self.shortcut(x_BCTHW), stream)
        else:
            h_BCTHW = self.conv1(x_BCTHW, stream, norm=self.norm1)
            x_BCTHW = self.shortcut(x_BCTHW)
        h_BCTHW = self.conv2(h_BCTHW, stream, norm=self.norm2)
        return h_BCTHW.add_(x_BCTHW) if writes_in_place(x_BCTHW) else x_BCTHW + h_BCTHW
