"""Stable Diffusion's image autoencoder, applied to the frames of a clip one by one.

Shape letters: B batch, C channels, K latent channels, T frames, H height, W width, N pictures (B times T).
Pixels lie in [-1, 1]. Module names are ours; `keymap.py` knows the released ones.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ea_kernels.nn import GroupNorm
from ea_vae.execution import ExecutionPlan, VideoAutoencoder
from ea_vae.families.kl2d.config import ImageVaeConfig
from ea_vae.layers.attention import TokenAttention
from ea_vae.layers.norm import NORM_EPSILON
from ea_vae.layers.repeated import conv_of_doubled_space
from ea_vae.layers.streaming import cut_frames

# Frames are independent, so this only bounds memory.
FRAMES_PER_PASS = 4


class ResidualLayer(nn.Module):
    """Norm, SiLU, conv 3x3, twice; plus the input (through a pointwise conv where the channels change)."""

    def __init__(self, in_channels: int, out_channels: int, *, num_groups: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(num_groups, in_channels, eps=NORM_EPSILON)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = GroupNorm(num_groups, out_channels, eps=NORM_EPSILON)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = (
            nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> [N, out_channels, H, W]."""
        h_NCHW = self.conv1(F.silu(self.norm1(x_NCHW)))
        return self.shortcut(x_NCHW) + self.conv2(F.silu(self.norm2(h_NCHW)))


class Downsampler(nn.Module):
    """Halve H and W; one zero row and column are added at the bottom and on the right only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H/2, W/2], rounded down."""
        return self.conv(F.pad(x_NCHW, (0, 1, 0, 1)))


class Upsampler(nn.Module):
    """Double H and W by repeating pixels, then convolve."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, 2H, 2W]."""
        return conv_of_doubled_space(x_NCHW, self.conv.weight, self.conv.bias)


class Stage(nn.Module):
    """Residual layers at one resolution, then a resampler (except in the last stage)."""

    def __init__(self, layers: list[ResidualLayer], resample: Downsampler | Upsampler | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.resample = resample

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """[N, C, H, W] -> the next stage's resolution."""
        for layer in self.layers:
            x_NCHW = layer(x_NCHW)
        return x_NCHW if self.resample is None else self.resample(x_NCHW)


class MidBlock(nn.Module):
    """Two residual layers at the coarsest resolution with attention over the picture between them."""

    def __init__(self, config: ImageVaeConfig) -> None:
        super().__init__()
        channels, groups = config.block_out_channels[-1], config.norm_num_groups
        self.layers = nn.ModuleList(ResidualLayer(channels, channels, num_groups=groups) for _ in range(2))
        self.attention = TokenAttention(channels, num_heads=1, num_groups=groups)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """The shape stays."""
        x_NCHW = self.layers[0](x_NCHW)
        x_NCL = self.attention(rearrange(x_NCHW, "n c h w -> n c (h w)"))
        return self.layers[1](rearrange(x_NCL, "n c (h w) -> n c h w", h=x_NCHW.shape[2]))


class Encoder(nn.Module):
    """Pixels to the input of the quantisation convolution."""

    def __init__(self, config: ImageVaeConfig) -> None:
        super().__init__()
        channels = config.block_out_channels
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.stages = nn.ModuleList(
            Stage(
                _layers(config, channel_in, channel_out, config.layers_per_block),
                Downsampler(channel_out) if index < len(channels) - 1 else None,
            )
            for index, (channel_in, channel_out) in enumerate(pairwise((channels[0], *channels)))
        )
        self.mid = MidBlock(config)
        self.norm_out = GroupNorm(config.norm_num_groups, channels[-1], eps=NORM_EPSILON)
        self.conv_out = nn.Conv2d(channels[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, 2K, H/8, W/8]."""
        x_NCHW = self.conv_in(x_NCHW)
        for stage in self.stages:
            x_NCHW = stage(x_NCHW)
        return self.conv_out(F.silu(self.norm_out(self.mid(x_NCHW))))


class Decoder(nn.Module):
    """Latents (after the post-quantisation convolution) to pixels."""

    def __init__(self, config: ImageVaeConfig) -> None:
        super().__init__()
        channels = config.block_out_channels[::-1]
        self.conv_in = nn.Conv2d(config.latent_channels, channels[0], 3, padding=1)
        self.mid = MidBlock(config)
        self.stages = nn.ModuleList(
            Stage(
                _layers(config, channel_in, channel_out, config.layers_per_block + 1),
                Upsampler(channel_out) if index < len(channels) - 1 else None,
            )
            for index, (channel_in, channel_out) in enumerate(pairwise((channels[0], *channels)))
        )
        self.norm_out = GroupNorm(config.norm_num_groups, channels[-1], eps=NORM_EPSILON)
        self.conv_out = nn.Conv2d(channels[-1], config.out_channels, 3, padding=1)

    def forward(self, x_NKHW: Tensor) -> Tensor:
        """[N, K, h, w] -> [N, 3, 8h, 8w]."""
        x_NCHW = self.mid(self.conv_in(x_NKHW))
        for stage in self.stages:
            x_NCHW = stage(x_NCHW)
        return self.conv_out(F.silu(self.norm_out(x_NCHW)))


class ImageVae(VideoAutoencoder[ImageVaeConfig]):
    """Image autoencoder of V1 and Open-Sora: every frame on its own, 8 x 8 pixels to one position.

    Args:
        config: Sizes.
    """

    def __init__(self, config: ImageVaeConfig) -> None:
        super().__init__(config)
        moments = 2 * config.latent_channels
        self.encoder = Encoder(config)
        self.quant_conv = nn.Conv2d(moments, moments, 1)
        self.post_quant_conv = nn.Conv2d(config.latent_channels, config.latent_channels, 1)
        self.decoder = Decoder(config)

    @property
    def default_plan(self) -> ExecutionPlan:
        """A few frames at a time."""
        space = self.geometry.space
        return ExecutionPlan(
            encoder_slice_frames=FRAMES_PER_PASS,
            decoder_slice_latents=FRAMES_PER_PASS,
            tile_pixels=64 * space,
            tile_latents=64,
            tile_corner=False,
        )

    def encode_frames(self, video_BCTHW: Tensor, slice_frames: int | None) -> Tensor:
        """Moments of every frame; the arguments are as in `VideoAutoencoder.encode_frames`."""
        parts = [_frames(part) for part in cut_frames(video_BCTHW, slice_frames)]
        moments = [_clip(self.quant_conv(self.encoder(part)), len(video_BCTHW)) for part in parts]
        return torch.cat(moments, dim=2)

    def decode_parts(self, latents_BKTHW: Tensor, slice_latents: int | None) -> Iterator[Tensor]:
        """Pixels of every frame; the arguments are as in `VideoAutoencoder.decode_parts`."""
        for part in cut_frames(latents_BKTHW, slice_latents):
            yield _clip(self.decoder(self.post_quant_conv(_frames(part))), len(latents_BKTHW))


def _frames(x_BCTHW: Tensor) -> Tensor:
    return rearrange(x_BCTHW, "b c t h w -> (b t) c h w")


def _clip(x_NCHW: Tensor, batch: int) -> Tensor:
    return rearrange(x_NCHW, "(b t) c h w -> b c t h w", b=batch)


def _layers(config: ImageVaeConfig, channels_in: int, channels_out: int, count: int) -> list[ResidualLayer]:
    return [
        ResidualLayer(
            channels_in if index == 0 else channels_out, channels_out, num_groups=config.norm_num_groups
        )
        for index in range(count)
    ]
