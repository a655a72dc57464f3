"""The MAGVIT-style video autoencoder of V2 to V5.1.

The generations share this network; `temporal.py` knows how each goes through a clip.
Shape letters: B batch, C channels, K latent channels, T frames, H height, W width. Pixels lie in [-1, 1].
Module names are ours; `keymap.py` knows the released ones.
"""

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor, nn

from ea_vae.execution import ExecutionPlan, VideoAutoencoder
from ea_vae.families.magvit.config import DOWN_BLOCKS, UP_BLOCKS, MagvitConfig
from ea_vae.layers.attention import ClipAttention
from ea_vae.layers.causal_conv import CausalConv3d
from ea_vae.layers.layout import in_fast_format
from ea_vae.layers.norm import ClipGroupNorm
from ea_vae.layers.resample import Downsampler, Upsampler
from ea_vae.layers.resnet import ResidualLayer
from ea_vae.layers.streaming import TemporalCache, TemporalPass, TemporalStream


class Stage(nn.Module):
    """Residual layers at one resolution, then a resampler (except in the last stage).

    Args:
        layers: Residual layers.
        resample: What comes after them.
        repeats_frames: Every frame is repeated before the first layer.
    """

    def __init__(
        self,
        layers: list[ResidualLayer],
        resample: Downsampler | Upsampler | None,
        *,
        repeats_frames: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.resample = resample
        self.repeats_frames = repeats_frames

    def forward(self, x_BCTHW: Tensor, around: TemporalPass | None) -> Tensor:
        """[B, C, T, H, W] -> the next stage's resolution."""
        for index, layer in enumerate(self.layers):
            x_BCTHW = layer(x_BCTHW, around, doubled=self.repeats_frames and index == 0)
        return x_BCTHW if self.resample is None else self.resample(x_BCTHW, around)


class MidBlock(nn.Module):
    """Residual layers at the coarsest resolution with optional attention between them."""

    def __init__(self, config: MagvitConfig) -> None:
        super().__init__()
        channels = config.block_out_channels[-1]
        self.layers = nn.ModuleList(
            _residual(config, channels, channels) for _ in range(config.layers_per_block)
        )
        count = config.layers_per_block - 1 if config.mid_attention != "none" else 0
        self.attentions = nn.ModuleList(_attention(config, channels) for _ in range(count))

    def forward(self, x_BCTHW: Tensor, around: TemporalPass | None) -> Tensor:
        """The shape stays."""
        x_BCTHW = self.layers[0](x_BCTHW, around)
        for index, layer in enumerate(self.layers[1:]):
            if self.attentions:
                x_BCTHW = self.attentions[index](x_BCTHW)
            x_BCTHW = layer(x_BCTHW, around)
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

    def forward(self, x_BCTHW: Tensor, around: TemporalPass | None = None) -> Tensor:
        """Encode a whole clip (`around` None) or a slice of one.

        Args:
            x_BCTHW: Pixels.
            around: What the slice sees of the frames around it.

        Returns:
            [B, 2K, t, H/8, W/8].
        """
        x_BCTHW = self.conv_in(in_fast_format(x_BCTHW), around)
        for stage in self.stages:
            x_BCTHW = stage(x_BCTHW, around)
        x_BCTHW = self.mid(x_BCTHW, around)
        return self.conv_out(x_BCTHW, around, norm=self.norm_out)


class Decoder(nn.Module):
    """Latents (after the post-quantisation convolution) to pixels."""

    def __init__(self, config: MagvitConfig) -> None:
        super().__init__()
        channels = config.block_out_channels[::-1]
        self.conv_in = CausalConv3d(config.latent_channels, channels[0])
        self.mid = MidBlock(config)
        self.stages = nn.ModuleList(_up_stages(config))
        self.norm_out = ClipGroupNorm(config.norm_num_groups, channels[-1], per_frame=config.per_frame_norm)
        self.conv_out = CausalConv3d(channels[-1], config.out_channels)

    def forward(self, x_BKTHW: Tensor, around: TemporalPass | None = None) -> Tensor:
        """Decode all latents (`around` None) or a slice of them, see `Encoder.forward`."""
        return self.enlarge(self.begin(x_BKTHW, around), around)

    def begin(self, x_BKTHW: Tensor, around: TemporalPass | None) -> Tensor:
        """The part at the coarsest resolution: [B, K, t, h, w] -> [B, C, t, h, w]."""
        return self.mid(self.conv_in(in_fast_format(x_BKTHW), around), around)

    def enlarge(self, x_BCTHW: Tensor, around: TemporalPass | None) -> Tensor:
        """The rest: [B, C, t, h, w] -> [B, 3, T, 8h, 8w]."""
        for stage in self.stages:
            x_BCTHW = stage(x_BCTHW, around)
        return self.conv_out(x_BCTHW, around, norm=self.norm_out)


class MagvitVae(VideoAutoencoder[MagvitConfig]):
    """Video autoencoder of V2 to V5.1: 4 frames of 8 x 8 pixels to one latent position, the first alone.

    Args:
        config: Sizes and execution settings.
    """

    def __init__(self, config: MagvitConfig) -> None:
        super().__init__(config)
        moments = 2 * config.latent_channels
        self.encoder = Encoder(config)
        self.quant_conv = nn.Conv3d(moments, moments, 1)
        self.post_quant_conv = nn.Conv3d(config.latent_channels, config.latent_channels, 1)
        self.decoder = Decoder(config)

    @property
    def default_plan(self) -> ExecutionPlan:
        """How the config wants a pass to be cut."""
        config = self.config
        sliced = config.temporal_mode != "whole"
        return ExecutionPlan(
            encoder_slice_frames=config.encoder_slice_frames if sliced else None,
            decoder_slice_latents=config.decoder_slice_latents if sliced else None,
            tile_encoder=config.use_tiling or config.use_tiling_encoder,
            tile_decoder=config.use_tiling or config.use_tiling_decoder,
            tile_pixels=config.tile_sample_min_size,
            tile_latents=int(config.tile_sample_min_size / 2 ** (config.tile_stages - 1)),
            tile_overlap=config.tile_overlap_factor,
        )

    @property
    def clip_plan(self) -> ExecutionPlan:
        """The temporal slices of V2 to V4, which are part of the function; none for V5."""
        if not self.config.mode.defined_by_slices:
            return ExecutionPlan()
        return self.default_plan.edited(tiling=False)

    @property
    def smoothed_slice_frames(self) -> int | None:
        """Length of the slices whose joints `latents_to_frames` smooths; None if it does not."""
        return self.config.encoder_slice_frames if self.config.mode.smoothed else None

    def encode_frames(self, video_BCTHW: Tensor, slice_frames: int | None) -> Tensor:
        """Moments of a clip; the arguments are as in `VideoAutoencoder.encode_frames`."""
        mode, geometry = self.config.mode, self.geometry
        if slice_frames is not None and mode.whole_groups and slice_frames % geometry.time:
            raise ValueError(
                f"encoder_slice_frames must be a multiple of {geometry.time}, got {slice_frames}"
            )
        return self.quant_conv(mode.encode(self.encoder, video_BCTHW, slice_frames, geometry))

    def decode_parts(self, latents_BKTHW: Tensor, slice_latents: int | None) -> Iterator[Tensor]:
        """Pixels of latents; the arguments are as in `VideoAutoencoder.decode_parts`."""
        latents_BKTHW = self.post_quant_conv(latents_BKTHW)
        yield from self.config.mode.decode(self.decoder, latents_BKTHW, slice_latents)

    def encode_slice(
        self, video_BCTHW: Tensor, cache: TemporalCache | None
    ) -> tuple[Tensor, TemporalCache | None]:
        """Moments [B, 2K, t, h, w] of the next slice of a clip, for callers that see a clip piece by piece.

        Args:
            video_BCTHW: Pixels.
            cache: None for a whole clip; else an empty cache for the first slice (one frame) and the cache
                that came out with the slice before for every later one.

        Returns:
            The moments and the cache for the next slice (None for a whole clip).
        """
        stream = None if cache is None else TemporalStream(cache)
        moments_BKTHW = self.quant_conv(self.encoder(video_BCTHW, stream))
        return moments_BKTHW, None if stream is None else stream.finish()

    def decode_slice(
        self, latents_BKTHW: Tensor, cache: TemporalCache | None
    ) -> tuple[Tensor, TemporalCache | None]:
        """Pixels of the next slice of latents; the cache is as in `encode_slice`."""
        stream = None if cache is None else TemporalStream(cache)
        video_BCTHW = self.decoder(self.post_quant_conv(latents_BKTHW), stream)
        return video_BCTHW, None if stream is None else stream.finish()


def _attention(config: MagvitConfig, channels: int) -> nn.Module:
    kinds = ("spatial", "temporal") if config.mid_attention == "spatial_temporal" else (config.mid_attention,)
    layers = [
        ClipAttention(
            channels, over=kind, num_heads=config.mid_attention_heads, num_groups=config.norm_num_groups
        )
        for kind in kinds
    ]
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


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


def _up_stages(config: MagvitConfig) -> Iterator[Stage]:
    channels, repeats_frames = config.block_out_channels[::-1], False
    for index, (channels_in, channels_out) in enumerate(pairwise((channels[0], *channels))):
        layers = [
            _residual(config, channels_in if layer == 0 else channels_out, channels_out)
            for layer in range(config.layers_per_block + 1)
        ]
        if index == len(channels) - 1:
            yield Stage(layers, None, repeats_frames=repeats_frames)
            return
        doubles = config.up_block_types[index] == UP_BLOCKS[1]
        upsampler = Upsampler(channels_out, linear_time=doubles and not config.per_frame_norm)
        yield Stage(layers, upsampler, repeats_frames=repeats_frames)
        # Repeated frames have the same statistics, so the next stage's first norm need not see them twice.
        repeats_frames = doubles and config.per_frame_norm
