"""The vocabulary of released config files, and what the original infers from it."""

from collections.abc import Mapping
from typing import Any

from ea_dit.config_values import BOOKKEEPING_KEYS, refuse_unknown, require_fixed, require_given

IMAGE_CLASS = "Transformer2DModel"
VIDEO_CLASS = "Transformer3DModel"
DIFFUSERS_IMAGE_CLASS = "PixArtTransformer2DModel"
CLASS_NAMES = (VIDEO_CLASS, IMAGE_CLASS, DIFFUSERS_IMAGE_CLASS)

# Keys that decide nothing here: bookkeeping, settings of layers that this network does not have, and how to
# compute the same numbers.
INERT_KEYS = BOOKKEEPING_KEYS | {
    "casual_3d_upsampler_index",
    "enable_clip_in_inpaint",
    "norm_num_groups",
    "num_embeds_ada_norm",
    "time_patch_size",
    "transformer_type",
    "upcast_attention",
}
# The only values that released files have for them.
_FIXED: Mapping[str, Any] = {
    "activation_fn": "gelu-approximate",
    "after_norm": False,
    "attention_bias": True,
    "attention_type": "default",
    "casual_3d": False,
    "double_self_attention": False,
    "dropout": 0.0,
    "fake_3d": False,
    "norm_elementwise_affine": False,
    "norm_type": "ada_norm_single",
    "num_vector_embeds": None,
    "only_cross_attention": False,
    "patch_3d": False,
    "qk_norm": False,
    "time_position_encoding_before_transformer": False,
    "use_linear_projection": False,
}
_REQUIRED = (
    "num_layers",
    "num_attention_heads",
    "attention_head_dim",
    "in_channels",
    "out_channels",
    "sample_size",
    "caption_channels",
)
_SAME = (
    *_REQUIRED,
    "patch_size",
    "norm_eps",
    "enable_text_attention_mask",
    "add_noise_in_inpaint_model",
    "resize_inpaint_mask_directly",
    "enable_zero_in_inpaint",
)
_INFERRED = (
    "num_skips",
    "first_skip_block",
    "position_scale",
    "size_conditions",
    "clip_channels",
    "clip_tokens",
)
# Names that diffusers gives to two of them; null leaves them to be inferred.
_ALIASES = {"interpolation_scale": "position_scale", "use_additional_conditions": "size_conditions"}
_MOTION_KEYS = (
    "basic_block_type",
    "motion_module_type",
    "motion_module_kwargs",
    "motion_module_kwargs_even",
    "motion_module_kwargs_odd",
)
_TRANSLATED = ("cross_attention_dim", "enable_uvit", *_ALIASES, *_MOTION_KEYS)

_KINDS = {"motionmodule": ("",), "global_motionmodule": ("_even", "_odd")}
_GRID_TYPE, _PLAIN_TYPE = "VanillaGrid", "Vanilla"
_SCOPES = {"Temporal_Self": "temporal", "Global_Self": "global"}
_MOTION_INERT = frozenset({"global_num_attention_heads", "zero_initialize"})
_MOTION_FIXED: Mapping[str, Any] = {
    "global_attention": False,
    "qk_norm": False,
    "temporal_attention_dim_div": 1,
    "temporal_position_encoding": True,
}
_MOTION_SAME = {
    "num_attention_heads": "num_attention_heads",
    "num_transformer_block": "num_layers",
    "temporal_position_encoding_max_len": "max_frames",
}
_MOTION_OTHER = frozenset({"attention_block_types", "block_size", "remove_time_embedding_in_photo"})

LINKS = 13
"""Long connections of a network with `enable_uvit`, whatever its depth."""
IMAGE_CHANNELS = 768
"""Width of the pooled embedding of the CLIP model that V3 uses."""


def from_released(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a config, motion modules as dictionaries of theirs.

    Raises:
        ValueError: For an unknown key or a value that is not supported, naming the key.
    """
    known = {*_SAME, *_INFERRED, *_TRANSLATED, *_FIXED}
    refuse_unknown(values, known, INERT_KEYS)
    require_given(values, _REQUIRED)
    require_fixed(values, _FIXED)
    fields = {name: values[name] for name in _SAME if name in values}
    width = values["num_attention_heads"] * values["attention_head_dim"]
    if values.get("cross_attention_dim", width) != width:
        raise ValueError(
            f"cross_attention_dim must be num_attention_heads * attention_head_dim = {width}, "
            f"got {values['cross_attention_dim']!r}"
        )
    fields |= inferred(values)
    for alias, name in _ALIASES.items():
        if values.get(alias) is not None:
            fields[name] = values[alias]
    fields |= {name: values[name] for name in _INFERRED if name in values}
    return fields | {"motion": _motion_kinds(values)}


def inferred(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that the original derives from other keys."""
    size = values["sample_size"]
    return {
        "num_skips": LINKS if values.get("enable_uvit") else 0,
        "position_scale": max(size // 64, 1),
        "size_conditions": size == 128,
        "clip_channels": IMAGE_CHANNELS if values["in_channels"] == 12 else None,
    }


def to_released(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the released form of a config's fields."""
    video = bool(fields["motion"])
    values: dict[str, Any] = {"_class_name": VIDEO_CLASS if video else IMAGE_CLASS}
    values |= {**{name: fields[name] for name in _SAME}, **_FIXED}
    values["cross_attention_dim"] = fields["num_attention_heads"] * fields["attention_head_dim"]
    values["enable_uvit"] = fields["num_skips"] > 0
    values |= _released_motion(fields["motion"])
    # Read back, the file must give the same fields; what it does not imply is written by name.
    implied = inferred(values) | {"first_skip_block": 15, "clip_tokens": 8}
    return values | {name: fields[name] for name in _INFERRED if implied[name] != fields[name]}


def _motion_kinds(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    video = values.get("_class_name") == VIDEO_CLASS
    block_type = values.get("basic_block_type", "motionmodule" if video else "basic")
    if block_type == "basic" and not video:
        return []
    if block_type not in _KINDS:
        allowed = [*_KINDS] if video else ["basic", *_KINDS]
        raise ValueError(f"basic_block_type must be one of {', '.join(allowed)}, got {block_type!r}")
    module_type = values.get("motion_module_type", _GRID_TYPE)
    if module_type not in (_GRID_TYPE, _PLAIN_TYPE):
        raise ValueError(f"motion_module_type must be {_GRID_TYPE} or {_PLAIN_TYPE}, got {module_type!r}")
    kinds = []
    for suffix in _KINDS[block_type]:
        name = f"motion_module_kwargs{suffix}"
        if not isinstance(values.get(name), Mapping):
            raise ValueError(f"{name} is missing in the transformer config")  # noqa: TRY004
        try:
            kinds.append(_motion_kind(values[name], in_squares=module_type == _GRID_TYPE))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return kinds


def _motion_kind(values: Mapping[str, Any], *, in_squares: bool) -> dict[str, Any]:
    known = {*_MOTION_SAME, *_MOTION_OTHER, *_MOTION_FIXED}
    refuse_unknown(values, known, _MOTION_INERT)
    require_fixed(values, _MOTION_FIXED)
    kind = {ours: values[name] for name, ours in _MOTION_SAME.items() if name in values}
    types = values.get("attention_block_types", ("Temporal_Self", "Temporal_Self"))
    if wrong := [name for name in types if name not in _SCOPES]:
        raise ValueError(f"attention_block_types must be made of {', '.join(_SCOPES)}, got {wrong[0]!r}")
    kind["attention"] = tuple(_SCOPES[name] for name in types)
    # Only the grid type reads block_size.
    kind["grid"] = values.get("block_size", 1) if in_squares else 1
    kind["photo_positions"] = not values.get("remove_time_embedding_in_photo", False)
    return kind


def _released_motion(kinds: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    block_type = ("basic", *_KINDS)[len(kinds)]
    if not kinds:
        return {"basic_block_type": block_type}
    in_squares = any(kind["grid"] > 1 for kind in kinds)
    names = {ours: name for name, ours in _SCOPES.items()}
    values: dict[str, Any] = {
        "basic_block_type": block_type,
        "motion_module_type": _GRID_TYPE if in_squares else _PLAIN_TYPE,
    }
    for suffix, kind in zip(_KINDS[block_type], kinds, strict=True):
        values[f"motion_module_kwargs{suffix}"] = {
            **{name: kind[ours] for name, ours in _MOTION_SAME.items()},
            "attention_block_types": [names[scope] for scope in kind["attention"]],
            "block_size": kind["grid"],
            "remove_time_embedding_in_photo": not kind["photo_positions"],
            "temporal_attention_dim_div": 1,
            "temporal_position_encoding": True,
        }
    return values
