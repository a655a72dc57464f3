"""Strict, frozen settings: dataclasses that refuse unknown keys and wrong types.

Plain dataclasses rather than a validation library, so that they work on any machine that has Python.
"""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, cast

__all__ = ["from_mapping", "to_mapping"]

ConfigT = TypeVar("ConfigT")


def from_mapping(kind: type[ConfigT], values: Mapping[str, Any], *, where: str = "config") -> ConfigT:
    """Build a frozen config dataclass from plain values.

    Args:
        kind: A dataclass; its fields may be dataclasses themselves.
        values: Nested mapping as read from JSON or YAML.
        where: Dotted place, for messages.

    Raises:
        ValueError: An unknown key, a missing one, or a value that is of the wrong type or that the dataclass
            refuses, with its dotted name and what is allowed.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(cast(Any, kind))}
    if unknown := sorted(map(str, set(values) - set(fields))):
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; allowed are {', '.join(sorted(fields))}")
    if missing := sorted(name for name, field in fields.items() if _required(field) and name not in values):
        raise ValueError(f"{where}.{missing[0]} is missing")
    coerced = {key: _coerce(hints[key], value, f"{where}.{key}") for key, value in values.items()}
    try:
        return kind(**coerced)
    except ValueError as error:
        # A dataclass names the field that it refuses; where it stands is known here.
        first_word = str(error).partition(" ")[0]
        if re.split(r"[.:\[]", first_word)[0] in fields:
            raise ValueError(f"{where}.{error}") from error
        raise


def to_mapping(config: Any) -> dict[str, Any]:
    """The nested plain values of a config, ready for JSON."""
    return dataclasses.asdict(config)


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _coerce(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _coerce_group(cast(type[Any], hint), value, where)
    if origin in (typing.Union, types.UnionType):
        return _coerce_optional(typing.get_args(hint), value, where)
    if origin is Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise ValueError(f"{where}: {value!r} is not one of {', '.join(map(repr, allowed))}")
        return value
    if origin is Mapping:
        return _coerce_mapping(typing.get_args(hint), value, where)
    if origin is tuple:
        return _coerce_tuple(typing.get_args(hint), value, where)
    return _coerce_scalar(hint, value, where)


def _coerce_tuple(items: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where}: expected a list, got {value!r}")  # noqa: TRY004  a wrong setting
    entries = cast(list[Any], value)
    if items[-1] is Ellipsis:
        items = items[:1] * len(entries)
    if len(entries) != len(items):
        raise ValueError(f"{where}: expected {len(items)} values, got {value!r}")
    pairs = zip(items, entries, strict=True)
    return tuple(_coerce(item, entry, f"{where}[{index}]") for index, (item, entry) in enumerate(pairs))


def _coerce_mapping(items: tuple[Any, ...], value: Any, where: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: expected names with values, got {value!r}")  # noqa: TRY004  a wrong setting
    key_hint, value_hint = items
    coerced: dict[Any, Any] = {}
    for name, entry in cast(Mapping[Any, Any], value).items():
        # JSON has no other names than text.
        number = key_hint is int and isinstance(name, str) and name.isascii() and name.isdecimal()
        key = _coerce(key_hint, int(name) if number else name, where)
        if key in coerced:
            raise ValueError(f"{where}: {key!r} is named twice")
        coerced[key] = _coerce(value_hint, entry, f"{where}.{name}")
    return coerced


def _coerce_group(hint: type[Any], value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return from_mapping(hint, cast(Mapping[str, Any], value), where=where)
    if isinstance(value, hint):
        return value
    raise ValueError(f"{where}: expected a group of settings, got {value!r}")


def _coerce_optional(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    inner = [option for option in options if option is not type(None)]
    return _coerce(inner[0], value, where)


def _coerce_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float:
        return _number(value, where)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ValueError(f"{where}: expected {hint.__name__}, got {value!r}")


def _number(value: Any, where: str) -> float:
    # Text counts too: YAML takes 1e-3, without a point, for a word.
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    raise ValueError(f"{where}: expected a finite number, got {value!r}")
