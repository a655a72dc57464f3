"""Reading and checking values of released config files, for every class that is read from one."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any

from ea_kernels.runtime.hints import known_names

WRITER_KEYS = frozenset({"_class_name", "_diffusers_version"})
"""Which class of which version wrote a file; they stand in models' and schedulers' files."""

BOOKKEEPING_KEYS = WRITER_KEYS | {
    "_name_or_path",
    "decay",
    "inv_gamma",
    "min_decay",
    "optimization_step",
    "power",
    "update_after_step",
    "use_ema_warmup",
}
"""What a model's file holds beside the model: who wrote it, and the state of the averaged weights (EMA)."""

MOST_LAYERS = 1000
"""No network is deeper; a config that says so is damaged, and building it would take hours."""
LARGEST = 10**6
"""Nor is any other size of a network larger."""
_LAYERS = ("num_layers", "depth")


def refuse_unknown(values: Mapping[str, Any], known: Collection[str], ignored: Collection[str] = ()) -> None:
    """Refuses keys of a file that are neither known nor ignored.

    Args:
        values: The file's.
        known: Keys that are read; the message names those that may have been meant.
        ignored: Keys that decide nothing.

    Raises:
        ValueError: Naming the first such key.
    """
    if unknown := sorted(set(values).difference(known, ignored)):
        raise ValueError(f"unknown key {unknown[0]!r}; {known_names(unknown[0], known)}")


def require_given(values: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuses a transformer's file in which a key is missing or null.

    Raises:
        ValueError: Naming the key.
    """
    for name in names:
        if values.get(name) is None:
            raise ValueError(f"{name} is missing in the transformer config")


def require_fixed(values: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Refuses keys with another value than the only one that is supported; they may be absent.

    Raises:
        ValueError: Naming the key and that value.
    """
    for name, allowed in fixed.items():
        if values.get(name, allowed) != allowed:
            raise ValueError(f"{name} must be {allowed!r}, got {values[name]!r}")


def require_whole(config: object, names: Iterable[str]) -> None:
    """Refuses fields that are no whole numbers of at least 1, or larger than in any network.

    Raises:
        ValueError: Naming the field.
    """
    for name in names:
        require_size(name, getattr(config, name))


def require_size(name: str, value: object) -> None:
    """Refuses what is no whole number from 1 to `LARGEST`, or to `MOST_LAYERS` for numbers of layers.

    Raises:
        ValueError: Naming the field.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    most = MOST_LAYERS if name in _LAYERS else LARGEST
    if value > most:
        raise ValueError(f"{name} must be at most {most}, got {value}")


def require_finite(config: object, names: Iterable[str]) -> None:
    """Refuses fields that are no finite numbers.

    Raises:
        ValueError: Naming the field.
    """
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise ValueError(f"{name} must be a finite number, got {value!r}")


def require_switch(config: object, names: Iterable[str]) -> None:
    """Refuses fields that are neither true nor false.

    Raises:
        ValueError: Naming the field.
    """
    for name in names:
        if not isinstance(getattr(config, name), bool):
            raise ValueError(f"{name} must be true or false, got {getattr(config, name)!r}")  # noqa: TRY004


def require_kinds(config: Any) -> None:
    """Refuses fields of a dataclass that are not of the kind of their defaults: switches and numbers.

    Raises:
        ValueError: Naming the field.
    """
    kinds = {field.name: type(field.default) for field in fields(config)}
    require_switch(config, (name for name, kind in kinds.items() if kind is bool))
    require_finite(config, (name for name, kind in kinds.items() if kind is float))
