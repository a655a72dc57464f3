"""Strict, frozen run configuration: dataclasses that refuse unknown keys and wrong types.

Plain dataclasses rather than a validation library, so that training starts on any machine that has torch.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

ConfigT = TypeVar("ConfigT")


def from_mapping(kind: type[ConfigT], values: Mapping[str, Any], *, where: str = "config") -> ConfigT:
    """Build a frozen config dataclass from plain values.

    Args:
        kind: A dataclass; its fields may be dataclasses themselves.
        values: Nested mapping as read from JSON or YAML.
        where: Dotted place, for messages.

    Raises:
        ValueError: An unknown key or a value of the wrong type, with its dotted name and what is allowed.
    """
    hints = typing.get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; allowed are {', '.join(sorted(known))}")
    return kind(**{key: _coerce(hints[key], value, f"{where}.{key}") for key, value in values.items()})


def override(config: ConfigT, assignments: list[str]) -> ConfigT:
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
        *parents, last = name.split(".")
        place = values
        for depth, parent in enumerate(parents):
            if not isinstance(place.get(parent), dict):
                raise ValueError(
                    f"override {name!r}: {'.'.join(parents[: depth + 1])!r} is not a group of settings"
                )
            place = place[parent]
        place[last] = yaml.safe_load(text)
    return from_mapping(type(config), values)


def to_mapping(config: Any) -> dict[str, Any]:
    """The nested plain values of a config, ready for JSON."""
    return dataclasses.asdict(config)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _coerce(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return from_mapping(hint, value, where=where)  # type: ignore[arg-type]
        if isinstance(value, hint):  # type: ignore[arg-type]
            return value
        raise ValueError(f"{where}: expected a group of settings, got {value!r}")
    if origin in (typing.Union, types.UnionType):
        return _coerce_union(typing.get_args(hint), value, where)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise ValueError(
                f"{where}: {value!r} is not one of {', '.join(map(repr, typing.get_args(hint)))}"
            )
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where}: expected a list, got {value!r}")
        item_hints = typing.get_args(hint)
        item = item_hints[0]
        return tuple(_coerce(item, entry, f"{where}[{index}]") for index, entry in enumerate(value))
    return _coerce_scalar(hint, value, where)


def _coerce_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    inner = [option for option in options if option is not type(None)]
    return _coerce(inner[0], value, where)


def _coerce_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            raise ValueError(f"{where}: expected a number, got {value!r}") from None
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ValueError(f"{where}: expected {hint.__name__}, got {value!r}")
