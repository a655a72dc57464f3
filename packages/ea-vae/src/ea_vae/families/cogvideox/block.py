"""Layers that only the CogVideoX-style autoencoder has.

Shape letters: B batch, C channels, K latent channels, T frames, H height, W width; t, h, w those of latents.
"""

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from ea_vae.layers.causal_conv import CausalConv3d
from ea_vae.layers.norm import ClipGroupNorm
from ea_vae.layers.repeated import conv_of_doubled_space
from ea_vae.layers.streaming import TemporalPass


class LatentNorm(nn.Module):
    """Group norm over a slice, scaled and shifted per position by what the latents say there.

    Args:
        channels: Channels, a multiple of `num_groups`.
        latent_channels: Channels of the latents.
        num_groups: Channel groups.
    """

    def __init__(self, channels: int, *, latent_channels: int, num_groups: int) -> None:
        super().__init__()
        self.norm = ClipGroupNorm(num_groups, channels, per_frame=False)
        self.scale = nn.Conv3d(latent_channels, channels, 1)
        self.shift = nn.Conv3d(latent_channels, channels, 1)

    def forward(self, x_BCTHW: Tensor, latents_BKthw: Tensor) -> Tensor:
        """Normalise; the shape stays. The latents are those of the same slice."""
        # Pointwise convolutions commute with repeating pixels, and are cheaper before it.
        scale_BCTHW, shift_BCTHW = (
            spread(project(latents_BKthw), like=x_BCTHW) for project in (self.scale, self.shift)
        )
        return self.norm(x_BCTHW) * scale_BCTHW + shift_BCTHW


class LatentResidualLayer(nn.Module):
    """Norm, SiLU, causal conv, twice, with norms that see the latents; plus the input.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        latent_channels: Channels of the latents.
        num_groups: Channel groups of both norms.
    """

    def __init__(self, in_channels: int, out_channels: int, *, latent_channels: int, num_groups: int) -> None:
        super().__init__()
        self.norm1 = LatentNorm(in_channels, latent_channels=latent_channels, num_groups=num_groups)
        self.conv1 = CausalConv3d(in_channels, out_channels)
        self.norm2 = LatentNorm(out_channels, latent_channels=latent_channels, num_groups=num_groups)
        self.conv2 = CausalConv3d(out_channels, out_channels)
        self.shortcut = (
            nn.Conv3d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        )

    def forward(self, x_BCTHW: Tensor, latents_BKthw: Tensor, around: TemporalPass) -> Tensor:
        """[B, in_channels, T, H, W] -> [B, out_channels, T, H, W]."""
        h_BCTHW = self.conv1(F.silu(self.norm1(x_BCTHW, latents_BKthw)), around)
        h_BCTHW = self.conv2(F.silu(self.norm2(h_BCTHW, latents_BKthw)), around)
        return self.shortcut(x_BCTHW) + h_BCTHW


class PoolingDownsampler(nn.Module):
    """With `halve_time` average frames in pairs, then halve H and W of each by a convolution.

    The first of an odd number of frames stays single. One zero row and column are added at the bottom and on
    the right only.
    """

    def __init__(self, channels: int, *, halve_time: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)
        self.halve_time = halve_time

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, C, T', H/2, W/2]; T' is T or half of it, rounded up."""
        if self.halve_time:
            first, rest = _split_odd(x_BCTHW)
            x_BCTHW = torch.cat((first, (rest[:, :, 0::2] + rest[:, :, 1::2]) / 2), dim=2)
        return _per_frame(self.conv, F.pad(x_BCTHW, (0, 1, 0, 1)))


class RepeatingUpsampler(nn.Module):
    """Double H and W, with `double_time` also T, by repeating, then convolve each frame.

    The first of an odd number of frames stays single.
    """

    def __init__(self, channels: int, *, double_time: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.double_time = double_time

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, C, T', 2H, 2W]; T' is T, 2T, or 2T - 1 if T is odd."""
        if self.double_time:
            first, rest = _split_odd(x_BCTHW)
            x_BCTHW = torch.cat((first, rest.repeat_interleave(2, dim=2)), dim=2)
        x_NCHW = rearrange(x_BCTHW, "b c t h w -> (b t) c h w")
        y_NCHW = conv_of_doubled_space(x_NCHW, self.conv.weight, self.conv.bias)
        return rearrange(y_NCHW, "(b t) c h w -> b c t h w", b=x_BCTHW.shape[0])


def spread(x_BCthw: Tensor, *, like: Tensor) -> Tensor:
    """Repeat values to the frames and the size of another slice; the first of an odd number stays single."""
    frames, height, width = like.shape[2:]
    first, rest = _split_odd(x_BCthw)
    if rest.shape[2]:
        rest = rest.repeat_interleave((frames - first.shape[2]) // rest.shape[2], dim=2)
    x_BCThw = torch.cat((first, rest), dim=2)
    down, across = height // x_BCthw.shape[3], width // x_BCthw.shape[4]
    return repeat(x_BCThw, "b c t h w -> b c t (h y) (w x)", y=down, x=across)


def _split_odd(x_BCTHW: Tensor) -> tuple[Tensor, Tensor]:
    odd = x_BCTHW.shape[2] % 2
    return x_BCTHW[:, :, :odd], x_BCTHW[:, :, odd:]


def _per_frame(conv: nn.Conv2d, x_BCTHW: Tensor) -> Tensor:
    y_NCHW = conv(rearrange(x_BCTHW, "b c t h w -> (b t) c h w"))
    return rearrange(y_NCHW, "(b t) c h w -> b c t h w", b=x_BCTHW.shape[0])
