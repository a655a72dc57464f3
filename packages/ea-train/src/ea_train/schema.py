"""Strict, frozen run configuration: dataclasses that refuse unknown keys and wrong types.

Plain dataclasses rather than a validation library, so that training starts on any machine that has torch.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

ConfigT = TypeVar("ConfigT")


def from_mapping(kind: type[ConfigT], values: Mapping[str, Any], *, where: str = "config") -> ConfigT:
    """Build a frozen config dataclass from plain values.

    Args:
        kind: A dataclass; its fields may be dataclasses themselves.
        values: Nested mapping as read from JSON or YAML.
        where: Dotted place, for messages.

    Raises:
        ValueError: An unknown key, a missing one, or a value of the wrong type, with its dotted name and what
            is allowed.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(cast(Any, kind))}
    if unknown := sorted(set(values) - set(fields)):
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; allowed are {', '.join(sorted(fields))}")
    if missing := sorted(name for name, field in fields.items() if _required(field) and name not in values):
        raise ValueError(f"{where}.{missing[0]} is missing")
    return kind(**{key: _coerce(hints[key], value, f"{where}.{key}") for key, value in values.items()})


def override(config: ConfigT, assignments: Sequence[str]) -> ConfigT:
    """Apply dotted `name=value` overrides to a config; values are read as YAML scalars or lists.

    Raises:
        ValueError: An assignment without `=`, an unknown name or a value of the wrong type.
    """
    import yaml  # noqa: PLC0415  only a command line needs it

    values = to_mapping(config)
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"override {assignment!r}: write it as name=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ValueError(f"override {name!r}: {text!r} is not a YAML value") from None
        _assign(values, name, value)
    return from_mapping(type(config), values)


def to_mapping(config: Any) -> dict[str, Any]:
    """The nested plain values of a config, ready for JSON."""
    return dataclasses.asdict(config)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted name; lists of groups are numbered."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(cast(Mapping[str, Any], value), f"{prefix}{key}."))
        elif isinstance(value, list | tuple) and any(
            isinstance(item, Mapping) for item in cast(list[Any], value)
        ):
            items = {str(index): item for index, item in enumerate(cast(list[Any], value))}
            flat.update(flatten(items, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _assign(values: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.split(".")
    place: dict[str, Any] = values
    for depth, parent in enumerate(parents):
        inner = place.get(parent)
        if not isinstance(inner, dict):
            group = ".".join(parents[: depth + 1])
            raise ValueError(f"override {name!r}: {group!r} is not a group of settings")  # noqa: TRY004
        place = cast(dict[str, Any], inner)
    place[last] = value


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
