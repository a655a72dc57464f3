"""The CogVideoX-style causal video autoencoder.

Shape letters: B batch, C channels, K latent channels, T frames, H height, W width. Pixels lie in [-1, 1].
Module names are ours; `keymap.py` knows the released ones.
"""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from ea_vae.execution import ExecutionPlan, VideoAutoencoder
from ea_vae.families.cogvideox.block import (
    LatentNorm,
    LatentResidualLayer,
    PoolingDownsampler,
    RepeatingUpsampler,
)
from ea_vae.families.cogvideox.config import CogVideoXConfig
from ea_vae.layers.causal_conv import CausalConv3d
from ea_vae.layers.norm import ClipGroupNorm
from ea_vae.layers.resnet import ResidualLayer
from ea_vae.layers.streaming import TemporalPass, cut_frames, join_slices, run_carried

MID_LAYERS = 2


class EncoderStage(nn.Module):
    """Residual layers at one resolution, then a resampler (except in the last stage)."""

    def __init__(self, layers: list[ResidualLayer], resample: PoolingDownsampler | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.resample = resample

    def forward(self, x_BCTHW: Tensor, around: TemporalPass) -> Tensor:
        """[B, C, T, H, W] -> the next stage's resolution."""
        for layer in self.layers:
            x_BCTHW = layer(x_BCTHW, around)
        return x_BCTHW if self.resample is None else self.resample(x_BCTHW)


class DecoderStage(nn.Module):
    """Residual layers at one resolution, which see the latents, then a resampler (except in the last)."""

    def __init__(self, layers: list[LatentResidualLayer], resample: RepeatingUpsampler | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.resample = resample

    def forward(self, x_BCTHW: Tensor, latents_BKTHW: Tensor, around: TemporalPass) -> Tensor:
        """[B, C, T, H, W] -> the next stage's resolution."""
        for layer in self.layers:
            x_BCTHW = layer(x_BCTHW, latents_BKTHW, around)
        return x_BCTHW if self.resample is None else self.resample(x_BCTHW)


class Encoder(nn.Module):
    """Pixels to moments."""

    def __init__(self, config: CogVideoXConfig) -> None:
        super().__init__()
        channels = config.block_out_channels
        self.conv_in = CausalConv3d(config.in_channels, channels[0])
        self.stages = nn.ModuleList(
            EncoderStage(
                [
                    _residual(config, channel_in if layer == 0 else channel_out, channel_out)
                    for layer in range(config.layers_per_block)
                ],
                PoolingDownsampler(channel_out, halve_time=index < config.num_time_stages)
                if index < len(channels) - 1
                else None,
            )
            for index, (channel_in, channel_out) in enumerate(pairwise((channels[0], *channels)))
        )
        self.mid = nn.ModuleList(_residual(config, channels[-1], channels[-1]) for _ in range(MID_LAYERS))
        self.norm_out = ClipGroupNorm(config.norm_num_groups, channels[-1], per_frame=False)
        self.conv_out = CausalConv3d(channels[-1], 2 * config.latent_channels)

    def forward(self, x_BCTHW: Tensor, around: TemporalPass) -> Tensor:
        """A slice [B, 3, T, H, W] -> [B, 2K, t, H/8, W/8]."""
        x_BCTHW = self.conv_in(x_BCTHW, around)
        for stage in self.stages:
            x_BCTHW = stage(x_BCTHW, around)
        for layer in self.mid:
            x_BCTHW = layer(x_BCTHW, around)
        return self.conv_out(F.silu(self.norm_out(x_BCTHW)), around)


class Decoder(nn.Module):
    """Latents to pixels."""

    def __init__(self, config: CogVideoXConfig) -> None:
        super().__init__()
        channels = config.block_out_channels[::-1]
        self.conv_in = CausalConv3d(config.latent_channels, channels[0])
        self.mid = nn.ModuleList(
            _latent_residual(config, channels[0], channels[0]) for _ in range(MID_LAYERS)
        )
        self.stages = nn.ModuleList(
            DecoderStage(
                [
                    _latent_residual(config, channel_in if layer == 0 else channel_out, channel_out)
                    for layer in range(config.layers_per_block + 1)
                ],
                RepeatingUpsampler(channel_out, double_time=index < config.num_time_stages)
                if index < len(channels) - 1
                else None,
            )
            for index, (channel_in, channel_out) in enumerate(pairwise((channels[0], *channels)))
        )
        self.norm_out = LatentNorm(
            channels[-1], latent_channels=config.latent_channels, num_groups=config.norm_num_groups
        )
        self.conv_out = CausalConv3d(channels[-1], config.out_channels)

    def forward(self, latents_BKTHW: Tensor, around: TemporalPass) -> Tensor:
        """A slice [B, K, t, h, w] -> [B, 3, T, 8h, 8w]."""
        x_BCTHW = self.conv_in(latents_BKTHW, around)
        for layer in self.mid:
            x_BCTHW = layer(x_BCTHW, latents_BKTHW, around)
        for stage in self.stages:
            x_BCTHW = stage(x_BCTHW, latents_BKTHW, around)
        return self.conv_out(F.silu(self.norm_out(x_BCTHW, latents_BKTHW)), around)


class CogVideoXVae(VideoAutoencoder[CogVideoXConfig]):
    """CogVideoX-style autoencoder: 4 frames of 8 x 8 pixels to one latent position.

    Args:
        config: Sizes and execution settings.
    """

    def __init__(self, config: CogVideoXConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    @property
    def default_plan(self) -> ExecutionPlan:
        """How the config wants a pass to be cut."""
        config, space = self.config, self.geometry.space
        height, width = config.sample_height // 2, config.sample_width // 2
        return ExecutionPlan(
            encoder_slice_frames=config.encoder_slice_frames,
            decoder_slice_latents=config.decoder_slice_latents,
            tile_decoder=config.use_tiling,
            tile_pixels=(height, width),
            tile_latents=(height // space, width // space),
            tile_overlap=(1 / 6, 1 / 5),
            tile_corner=False,
        )

    @property
    def clip_plan(self) -> ExecutionPlan:
        """The temporal slices, which are part of the function."""
        return self.default_plan.edited(tiling=False)

    def encode_frames(self, video_BCTHW: Tensor, slice_frames: int | None) -> Tensor:
        """Moments of a clip; the arguments are as in `VideoAutoencoder.encode_frames`.

        Fewer frames than make one latent frame, except a single one, are padded up to two latent frames.
        """
        if slice_frames is not None and slice_frames % self.geometry.time:
            raise ValueError(
                f"encoder_slice_frames must be a multiple of {self.geometry.time}, got {slice_frames}"
            )
        if 1 < video_BCTHW.shape[2] < self.geometry.time:
            video_BCTHW = self.geometry.pad_frames(video_BCTHW)
        return join_slices(run_carried(self.encoder, _cut(video_BCTHW, slice_frames)))

    def decode_parts(self, latents_BKTHW: Tensor, slice_latents: int | None) -> Iterator[Tensor]:
        """Pixels of latents; the arguments are as in `VideoAutoencoder.decode_parts`."""
        if slice_latents is not None and slice_latents % 2:
            raise ValueError(f"decoder_slice_latents must be even, got {slice_latents}")
        return run_carried(self.decoder, _cut(latents_BKTHW, slice_latents))


def _cut(x_BCTHW: Tensor, length: int | None) -> list[Tensor]:
    """Slices of one length; the first one also has what would be left over."""
    total = x_BCTHW.shape[2]
    if length is None or total < length:
        return [x_BCTHW]
    return cut_frames(x_BCTHW, length, first=length + total % length)


def _residual(config: CogVideoXConfig, channels_in: int, channels_out: int) -> ResidualLayer:
    return ResidualLayer(channels_in, channels_out, num_groups=config.norm_num_groups, per_frame_norm=False)


def _latent_residual(config: CogVideoXConfig, channels_in: int, channels_out: int) -> LatentResidualLayer:
    return LatentResidualLayer(
        channels_in,
        channels_out,
        latent_channels=config.latent_channels,
        num_groups=config.norm_num_groups,
    )
