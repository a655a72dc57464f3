"""Residual layer of the video autoencoders."""

from torch import Tensor, nn
from torch.nn import functional as F

from ea_vae.layers.causal_conv import CausalConv3d
from ea_vae.layers.norm import ClipGroupNorm
from ea_vae.layers.streaming import TemporalPass


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
            nn.Conv3d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        )

    def forward(self, x_BCTHW: Tensor, stream: TemporalPass | None = None) -> Tensor:
        """[B, in_channels, T, H, W] -> [B, out_channels, T, H, W]."""
        h_BCTHW = self.conv1(F.silu(self.norm1(x_BCTHW)), stream)
        h_BCTHW = self.conv2(F.silu(self.norm2(h_BCTHW)), stream)
        return self.shortcut(x_BCTHW) + h_BCTHW
