"""Configuration of the MAGVIT family and its released spelling."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, get_args

from ea_vae.config_values import (
    STAGE_FIELDS,
    check_scaling,
    check_stages,
    check_types,
    label,
    read_values,
    write_values,
)
from ea_vae.families.magvit.temporal import TEMPORAL_MODES, TemporalMode
from ea_vae.geometry import LatentGeometry

DOWN_BLOCKS = ("SpatialDownBlock3D", "SpatialTemporalDownBlock3D")
UP_BLOCKS = ("SpatialUpBlock3D", "SpatialTemporalUpBlock3D")
CLASS_NAME = "AutoencoderKLMagvit"
# In the order in which they are read: the first that is set decides.
MODE_FLAGS = tuple(mode.flag for mode in TEMPORAL_MODES.values() if mode.flag is not None)

# Keys of released configs that change nothing in this network.
IGNORED_KEYS = frozenset(
    (
        "ch",
        "force_upcast",
        "latents_mean",
        "latents_std",
        "mid_block_type",
        "norm_type",
        "num_attention_heads",
        "sample_size",
        "shift_factor",
        "upcast_vae",
    )
)
# What a released config means when it leaves a key out: the defaults of the original class, not those of V5.
RELEASED_DEFAULTS: Mapping[str, Any] = {
    "latent_channels": 4,
    "scaling_factor": 0.1825,
    "slice_mag_vae": True,
    "mini_batch_encoder": 9,
    "mini_batch_decoder": 3,
    "mid_block_use_attention": True,
    "mid_block_attention_type": "3d",
    "spatial_group_norm": False,
}
# The same for a config that diffusers' class of the same name wrote: it knows only the V5 network.
DIFFUSERS_DEFAULTS: Mapping[str, Any] = {
    "latent_channels": 16,
    "scaling_factor": 0.7125,
    "cache_mag_vae": True,
    "mini_batch_encoder": 4,
    "mini_batch_decoder": 1,
    "mid_block_use_attention": False,
    "spatial_group_norm": True,
}
# All that diffusers' class writes, under its own name; any other config is in the EasyAnimate spelling.
_DIFFUSERS_KEYS = frozenset((*STAGE_FIELDS, "scaling_factor", "spatial_group_norm"))
_SAME_NAME = (
    *STAGE_FIELDS,
    "scaling_factor",
    "use_tiling",
    "use_tiling_encoder",
    "use_tiling_decoder",
    "tile_sample_min_size",
    "tile_overlap_factor",
)
_RENAMED = {
    "spatial_group_norm": "per_frame_norm",
    "mini_batch_encoder": "encoder_slice_frames",
    "mini_batch_decoder": "decoder_slice_latents",
    "mid_block_num_attention_heads": "mid_attention_heads",
}
_ATTENTION_KEYS = ("mid_block_use_attention", "mid_block_attention_type")
_NAMES = {name: name for name in _SAME_NAME} | _RENAMED

TemporalModeName = Literal["cached", "cached-decoder", "neighbours", "slices", "whole"]
MidAttention = Literal["none", "3d", "spatial", "temporal", "spatial_temporal"]


@dataclass(frozen=True, kw_only=True)
class MagvitConfig:
    """Network and execution settings; the defaults are those of V5.1.

    Attributes:
        in_channels: Channels of the video that is encoded.
        out_channels: Channels of the decoded video.
        latent_channels: Channels of a latent.
        block_out_channels: Channels of each stage, from the finest to the coarsest.
        down_block_types: One released stage name per stage; a spatial stage halves H and W, a
            spatial-temporal one T too. The last stage never resamples.
        up_block_types: The same for the decoder, from the coarsest to the finest.
        layers_per_block: Residual layers per encoder stage (the decoder has one more).
        norm_num_groups: Channel groups of every norm; divides every entry of `block_out_channels`.
        act_fn: Activation; only "silu" exists.
        per_frame_norm: Norm statistics per frame, which makes the result independent of temporal slicing,
            and nearest (instead of linear) doubling of frames.
        mid_attention: Attention between the coarsest residual layers: over all positions of all frames of a
            slice ("3d"), within frames ("spatial"), over the frames at each position, or the latter two.
        mid_attention_heads: Its number of heads.
        temporal_mode: How the network goes through a clip. "cached" (V5, V5.1): the first frame alone, then
            slices that see the frames before them. "cached-decoder" (V4): encoded in independent slices,
            decoded in slices that see the frames before them. "neighbours" (V3): encoded in independent
            slices, decoded in slices that see those before and after at the coarsest resolution. "slices"
            (V2): independent causal slices. "whole": no cuts.
        encoder_slice_frames: Frames per encoder slice (after a frame that goes alone).
        decoder_slice_latents: Latent frames per decoder slice (the same).
        scaling_factor: A transformer sees latents multiplied by this.
        use_tiling: Spatial tiles in both directions.
        use_tiling_encoder: Spatial tiles when encoding.
        use_tiling_decoder: Spatial tiles when decoding.
        tile_sample_min_size: Side of a tile in pixels.
        tile_overlap_factor: Overlap of neighbouring tiles as a fraction of the side, 0 to below 1.
        tile_stages: Stages that the latent tile size is derived from: pixel size / 2^(stages - 1).
    """

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 16
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    down_block_types: tuple[str, ...] = (DOWN_BLOCKS[0], *[DOWN_BLOCKS[1]] * 3)
    up_block_types: tuple[str, ...] = (UP_BLOCKS[0], *[UP_BLOCKS[1]] * 3)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    act_fn: str = "silu"
    per_frame_norm: bool = True
    mid_attention: MidAttention = "none"
    mid_attention_heads: int = 1
    temporal_mode: TemporalModeName = "cached"
    encoder_slice_frames: int = 4
    decoder_slice_latents: int = 1
    scaling_factor: float = 0.7125
    use_tiling: bool = False
    use_tiling_encoder: bool = False
    use_tiling_decoder: bool = False
    tile_sample_min_size: int = 384
    tile_overlap_factor: float = 0.25
    tile_stages: int = 4

    def __post_init__(self) -> None:
        check_types(self, _RENAMED)
        check_scaling(self.scaling_factor)
        check_stages(self, {"down_block_types": DOWN_BLOCKS, "up_block_types": UP_BLOCKS})
        _check_attention(self)
        _check_execution(self)

    @property
    def geometry(self) -> LatentGeometry:
        """Compression in time and space, counted from the stages."""
        halvings = self.down_block_types[:-1]
        return LatentGeometry(
            time=2 ** halvings.count(DOWN_BLOCKS[1]),
            space=2 ** len(halvings),
            rule=self.mode.rule,
            slice_frames=self.encoder_slice_frames,
            slice_latents=self.decoder_slice_latents,
        )

    @property
    def mode(self) -> TemporalMode:
        """The way through time that `temporal_mode` names."""
        return TEMPORAL_MODES[self.temporal_mode]

    @classmethod
    def from_dict(cls, released: Mapping[str, Any]) -> Self:
        """Read a config.json in EasyAnimate's or diffusers' spelling.

        Keys that start with an underscore and `IGNORED_KEYS` are skipped; missing keys take the defaults of
        the class that wrote the file.

        Raises:
            ValueError: On an unknown key or a value out of range.
        """
        given = {name: value for name, value in released.items() if name not in IGNORED_KEYS}
        values = {**(DIFFUSERS_DEFAULTS if _is_diffusers(released) else RELEASED_DEFAULTS), **given}
        multipliers = values.pop("ch_mult", None) or (1, 2, 4, 4)
        if values.get("block_out_channels") is None:
            values["block_out_channels"] = [released.get("ch", 128) * factor for factor in multipliers]
        arguments: dict[str, Any] = {
            "temporal_mode": _temporal_mode({flag: bool(values.pop(flag, False)) for flag in MODE_FLAGS}),
            "mid_attention": _mid_attention(values),
            "tile_stages": len(multipliers),
        }
        return cls(
            **arguments, **read_values(values, names=_NAMES, known_elsewhere=(*MODE_FLAGS, *_ATTENTION_KEYS))
        )

    def to_dict(self) -> dict[str, Any]:
        """The released spelling, readable by `from_dict` and by the original programs."""
        released = write_values(self, CLASS_NAME, _NAMES)
        released |= {flag: flag == self.mode.flag for flag in MODE_FLAGS}
        released["mid_block_type"] = "MidBlock3D"
        released["mid_block_use_attention"] = self.mid_attention != "none"
        released["mid_block_attention_type"] = (
            "spatial" if self.mid_attention == "none" else self.mid_attention
        )
        if self.tile_stages != 4:
            released["ch_mult"] = [1] * self.tile_stages
        return released

    def edited(self, **changes: Any) -> Self:
        """A copy with some fields replaced."""
        return replace(self, **changes)


def _is_diffusers(released: Mapping[str, Any]) -> bool:
    keys = {name for name in released if not name.startswith("_")}
    return released.get("_class_name", CLASS_NAME) == CLASS_NAME and keys <= _DIFFUSERS_KEYS


def _temporal_mode(flags: Mapping[str, bool]) -> str:
    modes = TEMPORAL_MODES.items()
    return next(name for name, mode in modes if mode.flag is None or flags[mode.flag])


def _mid_attention(values: dict[str, Any]) -> str:
    used = values.pop("mid_block_use_attention", True)
    kind = values.pop("mid_block_attention_type", "3d")
    return kind if used else "none"


def _check_attention(config: MagvitConfig) -> None:
    if config.mid_attention not in get_args(MidAttention):
        kinds = ", ".join(get_args(MidAttention))
        raise ValueError(
            f"mid_attention (mid_block_attention_type) must be one of {kinds}; got {config.mid_attention!r}"
        )
    if config.block_out_channels[-1] % config.mid_attention_heads:
        raise ValueError(f"mid_attention_heads must divide {config.block_out_channels[-1]}")


def _check_execution(config: MagvitConfig) -> None:
    if config.temporal_mode not in TEMPORAL_MODES:
        raise ValueError(
            f"temporal_mode must be one of {', '.join(TEMPORAL_MODES)}; got {config.temporal_mode!r}"
        )
    time, frames = config.geometry.time, config.encoder_slice_frames
    cuts = config.temporal_mode != "whole"
    if cuts and config.mode.whole_groups and frames % time:
        name = label("encoder_slice_frames", _RENAMED)
        raise ValueError(f"{name} must be a multiple of {time}, got {frames}")
    if not 0.0 <= config.tile_overlap_factor < 1.0:
        raise ValueError(f"tile_overlap_factor must be in [0, 1), got {config.tile_overlap_factor}")
