"""Strict, frozen run configuration: overrides on a command line, and flat names for a log.

How settings are read and refused has its home in `ea_data.settings`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from ea_data.settings import from_mapping, to_mapping

__all__ = ["flatten", "from_mapping", "overlay", "override", "to_mapping"]

ConfigT = TypeVar("ConfigT")


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


def overlay(config: ConfigT, file: Path) -> ConfigT:
    """Put the settings of a YAML or JSON file over a config; groups are merged, all else is replaced.

    Raises:
        ValueError: The file cannot be read, or has an unknown name or a value of the wrong type.
    """
    import yaml  # noqa: PLC0415  only a command line needs it

    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {file}: {error}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is no YAML: {' '.join(str(error).split())}") from None
    if given is None:
        return config
    if not isinstance(given, Mapping):
        raise ValueError(f"{file}: expected names with values, got {given!r}")  # noqa: TRY004
    merged = _merged(to_mapping(config), cast(Mapping[str, Any], given))
    return from_mapping(type(config), merged, where=str(file))


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[name] = _merged(cast(Mapping[str, Any], below), cast(Mapping[str, Any], value))
        else:
            merged[name] = value
    return merged


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
            flat[f"{prefix}{key}"] = value
    return flat


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
