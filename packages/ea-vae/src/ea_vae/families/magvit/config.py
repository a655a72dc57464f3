"""Configuration of the MAGVIT family and its released spelling."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self

from ea_vae.geometry import LatentGeometry

DOWN_BLOCKS = ("SpatialDownBlock3D", "SpatialTemporalDownBlock3D")
UP_BLOCKS = ("SpatialUpBlock3D", "SpatialTemporalUpBlock3D")
CLASS_NAME = "AutoencoderKLMagvit"
MODE_FLAGS = ("cache_mag_vae", "cache_compression_vae", "slice_compression_vae", "slice_mag_vae")

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
# Keys that only the EasyAnimate spelling has; without any of them a config is in the diffusers spelling.
_EASYANIMATE_KEYS = frozenset(
    (
        *MODE_FLAGS,
        "mini_batch_encoder",
        "mini_batch_decoder",
        "mid_block_use_attention",
        "mid_block_attention_type",
    )
)
_SAME_NAME = (
    "in_channels",
    "out_channels",
    "latent_channels",
    "block_out_channels",
    "down_block_types",
    "up_block_types",
    "layers_per_block",
    "norm_num_groups",
    "act_fn",
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

TemporalMode = Literal["cached", "whole"]
MidAttention = Literal["none", "spatial"]


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
        mid_attention: Attention between the coarsest residual layers.
        mid_attention_heads: Its number of heads.
        temporal_mode: "cached" cuts a clip into slices and carries convolution state; "whole" does not cut.
        encoder_slice_frames: Frames per encoder slice after the first frame.
        decoder_slice_latents: Latent frames per decoder slice after the first.
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
    temporal_mode: TemporalMode = "cached"
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
        _check_types(self)
        _check_network(self)
        _check_execution(self)

    @property
    def geometry(self) -> LatentGeometry:
        """Compression in time and space, counted from the stages."""
        halvings = self.down_block_types[:-1]
        return LatentGeometry(time=2 ** halvings.count(DOWN_BLOCKS[1]), space=2 ** len(halvings))

    @classmethod
    def from_dict(cls, released: Mapping[str, Any]) -> Self:
        """Read a config.json in EasyAnimate's or diffusers' spelling.

        Keys that start with an underscore and `IGNORED_KEYS` are skipped; missing keys take the defaults of
        the class that wrote the file.

        Raises:
            ValueError: On an unknown key, a value out of range, or a temporal mode of V2 to V4.
        """
        given = {name: value for name, value in released.items() if not name.startswith("_")}
        defaults = RELEASED_DEFAULTS if _EASYANIMATE_KEYS & given.keys() else DIFFUSERS_DEFAULTS
        values = {**defaults, **{name: value for name, value in given.items() if name not in IGNORED_KEYS}}
        arguments: dict[str, Any] = {
            "temporal_mode": _temporal_mode({flag: bool(values.pop(flag, False)) for flag in MODE_FLAGS}),
            "mid_attention": _mid_attention(values),
        }
        multipliers = values.pop("ch_mult", None) or (1, 2, 4, 4)
        arguments["tile_stages"] = len(multipliers)
        if values.get("block_out_channels") is None:
            values["block_out_channels"] = [given.get("ch", 128) * factor for factor in multipliers]
        for name, value in values.items():
            field = _RENAMED.get(name, name)
            if name not in _RENAMED and name not in _SAME_NAME:
                known = ", ".join(sorted((*_SAME_NAME, *_RENAMED, *_EASYANIMATE_KEYS)))
                raise ValueError(f"vae config: unknown key {name!r}; known keys: {known}")
            arguments[field] = _as_tuple(name, value) if name.endswith(("_channels", "_types")) else value
        return cls(**arguments)

    def to_dict(self) -> dict[str, Any]:
        """The released spelling, readable by `from_dict` and by the original programs."""
        released: dict[str, Any] = {"_class_name": CLASS_NAME}
        for name in _SAME_NAME:
            value = getattr(self, name)
            released[name] = list(value) if isinstance(value, tuple) else value
        released |= {name: getattr(self, field) for name, field in _RENAMED.items()}
        released |= dict.fromkeys(MODE_FLAGS, False) | {"cache_mag_vae": self.temporal_mode == "cached"}
        released["mid_block_type"] = "MidBlock3D"
        released["mid_block_use_attention"] = self.mid_attention != "none"
        released["mid_block_attention_type"] = "spatial"
        if self.tile_stages != 4:
            released["ch_mult"] = [1] * self.tile_stages
        return released

    def edited(self, **changes: Any) -> Self:
        """A copy with some fields replaced."""
        return replace(self, **changes)


def _temporal_mode(flags: Mapping[str, bool]) -> TemporalMode:
    chosen = next((flag for flag in MODE_FLAGS if flags[flag]), None)
    if chosen is None:
        return "whole"
    if chosen == "cache_mag_vae":
        return "cached"
    raise ValueError(
        f"vae config: {chosen} selects a temporal mode of V2 to V4, which is not supported yet; "
        "supported are cache_mag_vae (V5, V5.1) and no flag at all"
    )


def _mid_attention(values: dict[str, Any]) -> MidAttention:
    used = values.pop("mid_block_use_attention", True)
    kind = values.pop("mid_block_attention_type", "3d")
    if not used:
        return "none"
    if kind != "spatial":
        raise ValueError(f"vae config: mid_block_attention_type must be 'spatial', got {kind!r}")
    return "spatial"


def _as_tuple(name: str, value: object) -> Any:
    if isinstance(value, str):
        # V2-era configs hold the list as the text of a Python tuple.
        try:
            value = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            raise ValueError(f"vae config: {name} must be a list, got {value!r}") from None
    return tuple(value) if isinstance(value, list | tuple) else value


def _check_network(config: MagvitConfig) -> None:
    stages = len(config.block_out_channels)
    if stages < 2:
        raise ValueError(f"block_out_channels must name at least 2 stages, got {config.block_out_channels!r}")
    for name, allowed in (("down_block_types", DOWN_BLOCKS), ("up_block_types", UP_BLOCKS)):
        kinds = getattr(config, name)
        if len(kinds) != stages or any(kind not in allowed for kind in kinds):
            raise ValueError(f"{name} must hold {stages} of {', '.join(allowed)}; got {kinds!r}")
    for channels in config.block_out_channels:
        if channels % config.norm_num_groups:
            raise ValueError(
                f"norm_num_groups ({config.norm_num_groups}) must divide block_out_channels, got {channels}"
            )
    if config.act_fn not in ("silu", "swish"):
        raise ValueError(f"act_fn must be 'silu', got {config.act_fn!r}")
    if config.mid_attention not in ("none", "spatial"):
        raise ValueError(f"mid_attention must be 'none' or 'spatial', got {config.mid_attention!r}")
    if config.block_out_channels[-1] % config.mid_attention_heads:
        raise ValueError(f"mid_attention_heads must divide {config.block_out_channels[-1]}")


def _check_execution(config: MagvitConfig) -> None:
    time, frames = config.geometry.time, config.encoder_slice_frames
    if config.temporal_mode not in ("cached", "whole"):
        raise ValueError(f"temporal_mode must be 'cached' or 'whole', got {config.temporal_mode!r}")
    if config.temporal_mode == "cached" and frames % time:
        raise ValueError(f"{_label('encoder_slice_frames')} must be a multiple of {time}, got {frames}")
    if not 0.0 <= config.tile_overlap_factor < 1.0:
        raise ValueError(f"tile_overlap_factor must be in [0, 1), got {config.tile_overlap_factor}")


def _label(field: str) -> str:
    """Name of a field for a message, with the released key where it differs."""
    released = next((name for name, ours in _RENAMED.items() if ours == field), None)
    return field if released is None else f"{field} ({released})"


def _check_types(config: MagvitConfig) -> None:
    for field in fields(config):
        value, default = getattr(config, field.name), field.default
        if isinstance(default, tuple):
            wanted = "must be a list" if not isinstance(value, tuple) else None
            wanted = wanted or next(filter(None, (_wanted(item, default[0]) for item in value)), None)
        else:
            wanted = _wanted(value, default)
        if wanted is not None:
            raise ValueError(f"{_label(field.name)} {wanted}, got {value!r}")


def _wanted(value: object, example: object) -> str | None:
    """What a value of the kind of the example must be; None if it is."""
    if isinstance(example, bool):
        return None if isinstance(value, bool) else "must be true or false"
    if isinstance(value, bool):
        return "must not be true or false"
    if isinstance(example, int):
        return None if isinstance(value, int) and value >= 1 else "must be a whole number of at least 1"
    if isinstance(example, float):
        return None if isinstance(value, int | float) else "must be a number"
    return None if isinstance(value, str) else "must be text"
