"""Reading and checking values of released configs, for the families' config classes."""

import ast
import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from ea_kernels.runtime.hints import known_names

STAGE_FIELDS = (
    "in_channels",
    "out_channels",
    "latent_channels",
    "block_out_channels",
    "down_block_types",
    "up_block_types",
    "layers_per_block",
    "norm_num_groups",
    "act_fn",
)
"""What decides the stages of an encoder and its decoder, in every family under its released name."""

# Far above any network: what is larger is a damaged file, and building it would take hours.
_LARGEST = 10**6
_MOST_LAYERS = 100
_MOST_STAGES = 16


def read_values(
    released: Mapping[str, Any],
    *,
    names: Mapping[str, str],
    fixed: Mapping[str, tuple[Any, ...]] | None = None,
    ignored: Collection[str] = (),
    known_elsewhere: Collection[str] = (),
) -> dict[str, Any]:
    """The values of a config.json by our field names.

    Args:
        released: Its content; keys that start with an underscore are skipped.
        names: Our field name by released key.
        fixed: Keys of which only some values are supported.
        ignored: Keys that change nothing.
        known_elsewhere: Keys that the caller has read already, for the message.

    Raises:
        ValueError: On an unknown key, or a value that is not supported.
    """
    fixed = fixed or {}
    values: dict[str, Any] = {}
    for name, value in released.items():
        if name.startswith("_") or name in ignored:
            continue
        if name in fixed:
            if value not in fixed[name]:
                allowed = " or ".join(map(repr, fixed[name]))
                raise ValueError(f"vae config: {name} must be {allowed}, got {value!r}")
        elif name in names:
            is_list = name.endswith(("_channels", "_types"))
            values[names[name]] = as_tuple(name, value) if is_list else value
        else:
            hint = known_names(name, (*names, *fixed, *known_elsewhere))
            raise ValueError(f"vae config: unknown key {name!r}; {hint}")
    return values


def as_tuple(name: str, value: object) -> Any:
    """A list, or the text of a Python tuple, as a tuple; anything else as it is."""
    if isinstance(value, str):
        # V2-era configs hold the list as the text of a Python tuple.
        try:
            value = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            raise ValueError(f"vae config: {name} must be a list, got {value!r}") from None
    return tuple(value) if isinstance(value, list | tuple) else value


def write_values(config: object, class_name: str, names: Mapping[str, str]) -> dict[str, Any]:
    """The start of a config.json: the class, then fields as `read_values` reads them.

    Args:
        config: The fields' values.
        class_name: The class that is to read the file.
        names: Our field name by released key.
    """
    values = {name: _as_json(getattr(config, ours)) for name, ours in names.items()}
    return {"_class_name": class_name} | values


def check_types(config: Any, renamed: Mapping[str, str]) -> None:
    """Compare the type of every field with that of its default.

    Args:
        config: A dataclass whose fields all have defaults.
        renamed: Our field name by released key, where the two differ.

    Raises:
        ValueError: On the first value of another kind; it names the field.
    """
    for field in fields(config):
        value, default = getattr(config, field.name), field.default
        if isinstance(default, tuple):
            wanted = "must be a list" if not isinstance(value, tuple) else None
            wanted = wanted or next(filter(None, (_wanted(item, default[0]) for item in value)), None)
        else:
            wanted = _wanted(value, default)
        if wanted is not None:
            raise ValueError(f"{label(field.name, renamed)} {wanted}, got {value!r}")


def check_stages(config: Any, allowed: Mapping[str, tuple[str, ...]]) -> None:
    """Check what decides the stages of an encoder and its decoder.

    Args:
        config: Has block_out_channels, norm_num_groups, act_fn and the fields named in `allowed`.
        allowed: Stage names by field.

    Raises:
        ValueError: If the numbers of stages differ, a stage is unknown, or the norm's groups do not fit.
    """
    stages = len(config.block_out_channels)
    if stages < 2:
        raise ValueError(f"block_out_channels must name at least 2 stages, got {config.block_out_channels!r}")
    for name, kinds in allowed.items():
        given = getattr(config, name)
        if len(given) != stages or any(kind not in kinds for kind in given):
            raise ValueError(f"{name} must hold {stages} of {', '.join(kinds)}; got {given!r}")
    for channels in config.block_out_channels:
        if channels % config.norm_num_groups:
            raise ValueError(
                f"norm_num_groups ({config.norm_num_groups}) must divide block_out_channels, got {channels}"
            )
    if config.layers_per_block > _MOST_LAYERS or stages > _MOST_STAGES:
        raise ValueError(
            f"layers_per_block must be at most {_MOST_LAYERS} and block_out_channels at most {_MOST_STAGES} "
            f"stages, got {config.layers_per_block} and {stages}"
        )
    if config.act_fn not in ("silu", "swish"):
        raise ValueError(f"act_fn must be 'silu', got {config.act_fn!r}")


def check_scaling(factor: float) -> None:
    """Refuse a scaling factor of 0 or below.

    Raises:
        ValueError: Saying what is allowed.
    """
    if factor <= 0:
        raise ValueError(f"scaling_factor must be above 0, got {factor}")


def label(field: str, renamed: Mapping[str, str]) -> str:
    """Name of a field for a message, with the released key where it differs."""
    released = next((name for name, ours in renamed.items() if ours == field), field)
    return field if released == field else f"{field} ({released})"


def _as_json(value: object) -> Any:
    """A field's value as config.json holds it."""
    return list(value) if isinstance(value, tuple) else value


def _wanted(value: object, example: object) -> str | None:
    """What a value of the kind of the example must be; None if it is."""
    if isinstance(example, bool):
        return None if isinstance(value, bool) else "must be true or false"
    if isinstance(value, bool):
        return "must not be true or false"
    if isinstance(example, int):
        if not isinstance(value, int) or value < 1:
            return "must be a whole number of at least 1"
        return None if value <= _LARGEST else f"must be at most {_LARGEST}"
    if isinstance(example, float):
        if not isinstance(value, int | float):
            return "must be a number"
        return None if math.isfinite(value) else "must be a finite number"
    return None if isinstance(value, str) else "must be text"
