"""Dotted settings over a recipe's own, and their YAML."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

from ea_train import schema

ConfigT = TypeVar("ConfigT")


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name as groups within groups."""
    groups: dict[str, Any] = {}
    for name, value in settings.items():
        *parents, last = name.split(".")
        place = groups
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return groups


def applied(base: ConfigT, settings: Mapping[str, Any]) -> ConfigT:
    """A config with other values.

    Args:
        base: A config dataclass.
        settings: Values by dotted name; groups that are None in the base begin with their defaults.

    Raises:
        ValueError: An unknown name or a value that is refused.
    """
    values = _merged(schema.to_mapping(base), nested(settings))
    return schema.from_mapping(type(base), values)


def yaml_lines(groups: Mapping[str, Any], comments: Mapping[str, str], prefix: str = "") -> Iterator[str]:
    """Lines of YAML, a comment behind each value that has one.

    Args:
        groups: As `nested` gives them.
        comments: By dotted name.
        prefix: Dotted name of the group, with its dot.
    """
    import yaml  # noqa: PLC0415  only those who print need it

    indent = "  " * prefix.count(".")
    for key, value in groups.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{key}:"
            yield from yaml_lines(cast("Mapping[str, Any]", value), comments, f"{prefix}{key}.")
            continue
        text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
        comment = comments.get(f"{prefix}{key}")
        yield f"{indent}{key}: {text.removesuffix(chr(10)).removesuffix('...').strip()}" + (
            f"  # {comment}" if comment else ""
        )


def _merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping | None):
            merged[key] = _merged(below or {}, cast("Mapping[str, Any]", value))
        else:
            merged[key] = value
    return merged
