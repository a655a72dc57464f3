"""Reading and checking values of released config files, for every class that is read from one."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

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


def refuse_unknown(values: Mapping[str, Any], known: Collection[str], ignored: Collection[str] = ()) -> None:
    """Refuses keys of a file that are neither known nor ignored.

    Args:
        values: The file's.
        known: Keys that are read; the message lists them.
        ignored: Keys that decide nothing.

    Raises:
        ValueError: Naming the first such key.
    """
    if unknown := sorted(set(values).difference(known, ignored)):
        raise ValueError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")


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
    """Refuses fields that are no whole numbers of at least 1.

    Raises:
        ValueError: Naming the field.
    """
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
