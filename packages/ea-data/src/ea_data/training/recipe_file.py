"""Recipe files: YAML or JSON in which no name comes twice."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from ea_data.parsing import json_reason

__all__ = ["read_recipe"]

_SUFFIXES: Final = (".yaml", ".yml", ".json")
_MAX_BYTES: Final = 1 << 20


class _CopyError(ValueError):
    """A name comes twice."""


def read_recipe(path: Path) -> Mapping[str, Any]:
    """The names and values of a .yaml, .yml or .json file.

    Raises:
        ValueError: It cannot be read, names something twice, or is not names with values.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"{path}: unknown suffix {path.suffix!r}; allowed: {', '.join(_SUFFIXES)}")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{path}: more than {_MAX_BYTES} bytes; a recipe is smaller")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text") from error
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from error
    values = _parse_json(path, text) if path.suffix.lower() == ".json" else _parse_yaml(path, text)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected names with values, got {type(values).__name__}")  # noqa: TRY004
    return cast("dict[str, Any]", values)


def _parse_json(path: Path, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {json_reason(error)}") from error


def _parse_yaml(path: Path, text: str) -> Any:
    import yaml  # noqa: PLC0415  only a file needs it

    try:
        _refuse_copies(path, yaml.compose(text, Loader=yaml.SafeLoader))
        return yaml.safe_load(text)
    except _CopyError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error) or "brackets within brackets, too deep"
        raise ValueError(f"{path}{place}: not YAML: {' '.join(reason.split())}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"{name[:40]!r} is named twice")
        values[name] = value
    return values


def _refuse_copies(path: Path, root: Any) -> None:
    """Go through the nodes of a YAML text, each once, as anchors make one node stand in many places."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if node.id == "sequence":
            waiting.extend(node.value)
        if node.id != "mapping":
            continue
        names = set[tuple[str, str]]()
        for key, value in node.value:
            waiting.append(value)
            if key.id != "scalar":
                continue
            if (key.tag, key.value) in names:
                line = key.start_mark.line + 1
                raise _CopyError(f"{path} line {line}: {key.value[:40]!r} is named twice; allowed: once")
            names.add((key.tag, key.value))
