"""Which columns of a manifest mean what: EasyAnimate's names and Open-Sora's."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from ea_data.manifest.errors import RowError

__all__ = ["SCORES", "SYNONYMS", "Facts", "check_columns", "facts_of", "rename"]

SYNONYMS: Final[Mapping[str, str]] = MappingProxyType({"path": "file_path"})
"""Open-Sora's name of a column to ours."""

SCORES: Final = ("aspect_ratio", "resolution", "text_len", "aes", "flow", "match")
"""Open-Sora's columns of numbers that select rows; `Entry.extra` has them as numbers, or None where empty."""

_NOTHING: Final = ("", "nan", "none", "null")
_WHOLE: Final = ("num_frames", "height", "width")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a row says about its file; None where it says nothing.

    Attributes:
        num_frames: 1 or more; 1 is a picture.
        height: Pixels.
        width: Pixels.
        fps: Frames per second.
    """

    num_frames: int | None = None
    height: int | None = None
    width: int | None = None
    fps: float | None = None


def check_columns(names: Iterable[str]) -> list[str]:
    """The columns of a table.

    Raises:
        RowError: One comes twice, also under its other name, or the file's is missing.
    """
    columns = list(names)
    ours = [SYNONYMS.get(name, name) for name in columns]
    if "file_path" not in ours or len(set(ours)) != len(ours):
        raise RowError(
            "the columns must be named once each, file_path (or path) among them; found: "
            + ", ".join(columns)[:200]
        )
    return columns


def rename(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row under our names.

    Raises:
        RowError: It has both names of a column.
    """
    for theirs, ours in SYNONYMS.items():
        if theirs in row:
            if ours in row:
                raise RowError(f"both {ours} and {theirs} are given; allowed: one of them")
            return {SYNONYMS.get(key, key): value for key, value in row.items()}
    return dict(row)


def facts_of(row: dict[str, Any]) -> Facts:
    """Take what is known about a file out of a row, and make numbers of its scores.

    Raises:
        RowError: A number is none, or out of range.
    """
    for name in SCORES:
        if name in row:
            row[name] = _score(row[name])
    numbers = {name: _number(name, row.pop(name)) for name in (*_WHOLE, "fps") if name in row}
    for name in _WHOLE:
        value = numbers.get(name)
        if value is not None and not value.is_integer():
            raise RowError(f"{name} is {value:g}; allowed: whole numbers from 1")
    whole = {name: None if value is None else int(value) for name, value in numbers.items() if name in _WHOLE}
    return Facts(**whole, fps=numbers.get("fps"))


def _number(name: str, value: object) -> float | None:
    allowed = "numbers above 0" if name == "fps" else "whole numbers from 1"
    try:
        number = _float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise RowError(f"{name} is {str(value)[:40]!r}; allowed: {allowed}") from error
    if number is not None and not (number > 0 and math.isfinite(number)):
        raise RowError(f"{name} is {number:g}; allowed: {allowed}")
    return number


def _score(value: object) -> object:
    try:
        return _float(value)
    except (TypeError, ValueError, OverflowError):
        return value


def _float(value: object) -> float | None:
    """A number, or None for what tables write where there is none."""
    if value is None or (isinstance(value, str) and value.strip().lower() in _NOTHING):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    number = float(value)
    return None if math.isnan(number) else number
