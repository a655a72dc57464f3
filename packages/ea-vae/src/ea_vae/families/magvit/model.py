"""The MAGVIT-style causal video autoencoder of V5 and V5.1.

Shape letters: B batch, C channels, K latent channels, T frames, H height, W width. Pixels lie in [-1, 1].
Module names are ours; `keymap.py` knows the released ones.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ea_vae.execution import ExecutionPlan, run_decode, run_encode
from ea_vae.families.magvit.config import DOWN_BLOCKS, UP_BLOCKS, MagvitConfig
from ea_vae.geometry import LatentGeometry
from ea_vae.latents import Posterior
from ea_vae.layers.attention import FrameAttention
from ea_vae.layers.causal_conv import CausalConv3d
from ea_vae.layers.norm import ClipGroupNorm
from ea_vae.layers.resample import Downsampler, Upsampler
from ea_vae.layers.resnet import ResidualLayer
from ea_vae.layers.streaming import TemporalCache, TemporalStream


class Stage(nn.Module):
    """Residual layers at one resolution, then a resampler (except in the last stage)."""

    def __init__(self, layers: list[ResidualLayer], resample: Downsampler | Upsampler | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.resample = resample

    def forward(self, x_BCTHW: Tensor, stream: TemporalStream | None) -> Tensor:
        """[B, C, T, H, W] -> the next stage's resolution."""
        for layer in self.layers:
            x_BCTHW = layer(x_BCTHW, stream)
        return x_BCTHW if self.resample is None else self.resample(x_BCTHW, stream)


class MidBlock(nn.Module):
    """Residual layers at the coarsest resolution with optional attention between them."""

    def __init__(self, config: MagvitConfig) -> None:
        super().__init__()
        channels = config.block_out_channels[-1]
        self.layers = nn.ModuleList(
            _residual(config, channels, channels) for _ in range(config.layers_per_block)
        )
        count = config.layers_per_block - 1 if config.mid_attention != "none" else 0
        self.attentions = nn.ModuleList(
            FrameAttention(channels, num_heads=config.mid_attention_heads, num_groups=config.norm_num_groups)
            for _ in range(count)
        )

    def forward(self, x_BCTHW: Tensor, stream: TemporalStream | None) -> Tensor:
        """The shape stays."""
        x_BCTHW = self.layers[0](x_BCTHW, stream)
        for index, layer in enumerate(self.layers[1:]):
            if self.attentions:
                x_BCTHW = self.attentions[index](x_BCTHW)
            x_BCTHW = layer(x_BCTHW, stream)
        return x_BCTHW


class Encoder(nn.Module):
    """Pixels to the input of the quantisation convolution."""

    def __init__(self, config: MagvitConfig) -> None:
        super().__init__()
        channels = config.block_out_channels
        self.conv_in = CausalConv3d(config.in_channels, channels[0])
        self.stages = nn.ModuleList(
            _down_stage(config, channel_in, channel_out, kind, is_last=index == len(channels) - 1)
            for index, ((channel_in, channel_out), kind) in enumerate(
                zip(pairwise((channels[0], *channels)), config.down_block_types, strict=True)
            )
        )
        self.mid = MidBlock(config)
        self.norm_out = ClipGroupNorm(config.norm_num_groups, channels[-1], per_frame=config.per_frame_norm)
        self.conv_out = CausalConv3d(channels[-1], 2 * config.latent_channels)

    def forward(
        self, x_BCTHW: Tensor, cache: TemporalCache | None = None
    ) -> tuple[Tensor, TemporalCache | None]:
        """Encode a whole clip (`cache` None) or its next slice.

        Args:
            x_BCTHW: Pixels.
            cache: None for a whole clip; else an empty cache for the first slice (one frame) and the cache
                that came out with the slice before for every later one.

        Returns:
            [B, 2K, t, H/8, W/8] and the cache for the next slice (None for a whole clip).
        """
        stream = None if cache is None else TemporalStream(cache)
        x_BCTHW = self.conv_in(x_BCTHW, stream)
        for stage in self.stages:
            x_BCTHW = stage(x_BCTHW, stream)
        x_BCTHW = self.mid(x_BCTHW, stream)
        x_BCTHW = self.conv_out(F.silu(self.norm_out(x_BCTHW)), stream)
        return x_BCTHW, None if stream is None else stream.finish()


class Decoder(nn.Module):
    """Latents (after the post-quantisation convolution) to pixels."""

    def __init__(self, config: MagvitConfig) -> None:
        super().__init__()
        channels = config.block_out_channels[::-1]
        self.conv_in = CausalConv3d(config.latent_channels, channels[0])
        self.mid = MidBlock(config)
        self.stages = nn.ModuleList(
            _up_stage(config, channel_in, channel_out, kind, is_last=index == len(channels) - 1)
            for index, ((channel_in, channel_out), kind) in enumerate(
                zip(pairwise((channels[0], *channels)), config.up_block_types, strict=True)
            )
        )
        self.norm_out = ClipGroupNorm(config.norm_num_groups, channels[-1], per_frame=config.per_frame_norm)
        self.conv_out = CausalConv3d(channels[-1], config.out_channels)

    def forward(
        self, x_BKTHW: Tensor, cache: TemporalCache | None = None
    ) -> tuple[Tensor, TemporalCache | None]:
        """Decode all latents (`cache` None) or the next slice; the arguments are as in `Encoder.forward`."""
        stream = None if cache is None else TemporalStream(cache)
        x_BCTHW = self.mid(self.conv_in(x_BKTHW, stream), stream)
        for stage in self.stages:
            x_BCTHW = stage(x_BCTHW, stream)
        x_BCTHW = self.conv_out(F.silu(self.norm_out(x_BCTHW)), stream)
        return x_BCTHW, None if stream is None else stream.finish()


class MagvitVae(nn.Module):
    """Causal video autoencoder: 4n + 1 frames to n + 1 latent frames, 8 x 8 pixels to one position.

    Args:
        config: Sizes and execution settings.
    """

    def __init__(self, config: MagvitConfig) -> None:
        super().__init__()
        self.config = config
        moments = 2 * config.latent_channels
        self.encoder = Encoder(config)
        self.quant_conv = nn.Conv3d(moments, moments, 1)
        self.post_quant_conv = nn.Conv3d(config.latent_channels, config.latent_channels, 1)
        self.decoder = Decoder(config)

    @property
    def geometry(self) -> LatentGeometry:
        """Compression in time and space."""
        return self.config.geometry

    @property
    def default_plan(self) -> ExecutionPlan:
        """How the config wants a pass to be cut."""
        config = self.config
        sliced = config.temporal_mode == "cached"
        return ExecutionPlan(
            encoder_slice_frames=config.encoder_slice_frames if sliced else None,
            decoder_slice_latents=config.decoder_slice_latents if sliced else None,
            tile_encoder=config.use_tiling or config.use_tiling_encoder,
            tile_decoder=config.use_tiling or config.use_tiling_decoder,
            tile_pixels=config.tile_sample_min_size,
            tile_latents=int(config.tile_sample_min_size / 2 ** (config.tile_stages - 1)),
            tile_overlap=config.tile_overlap_factor,
        )

    def encode_clip(self, video_BCTHW: Tensor) -> Posterior:
        """Encode in one differentiable pass without slices or tiles; for training.

        Args:
            video_BCTHW: [B, 3, T, H, W] in [-1, 1]; T = 4n + 1, H and W multiples of 8.
        """
        return Posterior.from_moments(self.encode_slice(video_BCTHW, None)[0])

    def decode_clip(self, latents_BKTHW: Tensor) -> Tensor:
        """Decode in one differentiable pass; [B, K, t, h, w] -> [B, 3, 4(t - 1) + 1, 8h, 8w]."""
        return self.decode_slice(latents_BKTHW, None)[0]

    def encode_slice(
        self, video_BCTHW: Tensor, cache: TemporalCache | None
    ) -> tuple[Tensor, TemporalCache | None]:
        """Moments [B, 2K, t, h, w] of the next slice of a clip; the cache is as in `Encoder.forward`."""
        x_BCTHW, cache = self.encoder(video_BCTHW, cache)
        return self.quant_conv(x_BCTHW), cache

    def decode_slice(
        self, latents_BKTHW: Tensor, cache: TemporalCache | None
    ) -> tuple[Tensor, TemporalCache | None]:
        """Pixels of the next slice of latents; the cache is as in `Encoder.forward`."""
        return self.decoder(self.post_quant_conv(latents_BKTHW), cache)

    def encode(self, video_BCTHW: Tensor, *, plan: ExecutionPlan | None = None) -> Posterior:
        """Encode clips of any length.

        Args:
            video_BCTHW: [B, 3, T, H, W] in [-1, 1], H and W multiples of 8. If T is not 4n + 1 the last frame
                is repeated up to the next such length; `decode` with `num_frames` crops it away again.
            plan: How the pass is cut; None follows the config.

        Returns:
            The posterior of the latents [B, K, (T - 1) / 4 + 1, H / 8, W / 8], the division rounding up.

        Raises:
            ValueError: If the shape does not fit.
        """
        _check_channels("video", video_BCTHW, self.config.in_channels)
        return Posterior.from_moments(run_encode(self, video_BCTHW, plan or self.default_plan))

    def decode(
        self, latents_BKTHW: Tensor, *, num_frames: int | None = None, plan: ExecutionPlan | None = None
    ) -> Tensor:
        """Decode latents.

        Args:
            latents_BKTHW: [B, K, t, h, w], without the scaling factor.
            num_frames: Keep this many frames only; None keeps all 4 (t - 1) + 1.
            plan: How the pass is cut; None follows the config.

        Returns:
            Pixels [B, 3, T, 8h, 8w] around [-1, 1], not clamped.

        Raises:
            ValueError: If the shape or `num_frames` does not fit.
        """
        _check_channels("latents", latents_BKTHW, self.config.latent_channels)
        return run_decode(self, latents_BKTHW, plan or self.default_plan, num_frames=num_frames)

    def forward(
        self, video_BCTHW: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Posterior]:
        """Reconstruct through a sample of the posterior in one pass; for training.

        Returns:
            The reconstruction, shaped like the video, and the posterior.
        """
        posterior = self.encode_clip(video_BCTHW)
        return self.decode_clip(posterior.sample(generator)), posterior


def _check_channels(name: str, x: Tensor, channels: int) -> None:
    if x.ndim != 5 or x.shape[1] != channels:
        raise ValueError(f"{name} must have the shape [B, {channels}, T, H, W], got {list(x.shape)}")


def _residual(config: MagvitConfig, channels_in: int, channels_out: int) -> ResidualLayer:
    return ResidualLayer(
        channels_in, channels_out, num_groups=config.norm_num_groups, per_frame_norm=config.per_frame_norm
    )


def _down_stage(
    config: MagvitConfig, channels_in: int, channels_out: int, kind: str, *, is_last: bool
) -> Stage:
    layers = [
        _residual(config, channels_in if index == 0 else channels_out, channels_out)
        for index in range(config.layers_per_block)
    ]
    resample = None if is_last else Downsampler(channels_out, halve_time=kind == DOWN_BLOCKS[1])
    return Stage(layers, resample)


def _up_stage(
    config: MagvitConfig, channels_in: int, channels_out: int, kind: str, *, is_last: bool
) -> Stage:
    layers = [
        _residual(config, channels_in if index == 0 else channels_out, channels_out)
        for index in range(config.layers_per_block + 1)
    ]
    if is_last:
        return Stage(layers, None)
    upsampler = Upsampler(
        channels_out, double_time=kind == UP_BLOCKS[1], linear_time=not config.per_frame_norm
    )
    return Stage(layers, upsampler)
