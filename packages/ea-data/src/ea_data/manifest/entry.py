"""One row of a manifest, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final, Literal

from ea_data.manifest.columns import Facts, facts_of, rename
from ea_data.manifest.errors import RowError
from ea_data.manifest.paths import RootFolder, file_problem

__all__ = ["MAX_TEXT", "BadRow", "Entry", "entry_of"]

MAX_TEXT: Final = 20_000
_TYPES: Final = ("video", "image")
_VIDEOS: Final = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row.

    Attributes:
        path: The file, absolute.
        text: The caption, may be empty.
        type: "video" or "image".
        line: Where the row begins, for messages; in parquet the number of the row.
        control_path: The control video, picture or camera file, absolute; None when the row names none.
        facts: Size, length and rate as far as the row has them; not checked against the file.
        extra: All other keys.
        row: Number of the row among all rows of the manifest, wrong ones too, from 0.
    """

    path: Path
    text: str
    type: Literal["video", "image"]
    line: int
    control_path: Path | None = None
    facts: Facts = field(default_factory=Facts)
    extra: Mapping[str, Any] = field(default_factory=dict)
    row: int = 0


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used.

    Attributes:
        file: The manifest.
        line: Where the row begins.
        reason: What is wrong with it.
    """

    file: Path
    line: int
    reason: str

    def __str__(self) -> str:
        """FILE:LINE: reason."""
        return f"{self.file}:{self.line}: {self.reason}"


def entry_of(row: object, line: int, root: RootFolder, *, number: int, check_files: bool) -> Entry:
    """Check a row, of which the manifest has `number` before it.

    Raises:
        RowError: Anything is wrong with it.
    """
    if not isinstance(row, dict):
        raise RowError(f"a row must be an object with file_path, text and type, not {type(row).__name__}")
    rest = rename(row)
    name, text = _text(rest, "file_path"), _text(rest, "text") or ""
    control, kind = _text(rest, "control_file_path"), _text(rest, "type")
    if name is None:
        raise RowError("file_path is missing")
    if kind and kind not in _TYPES:
        raise RowError(f"type is {kind[:40]!r}; allowed: {', '.join(_TYPES)}")
    if len(text) > MAX_TEXT:
        raise RowError(f"text has {len(text)} characters; allowed: at most {MAX_TEXT}")
    facts = facts_of(rest)
    return Entry(
        path=_file(root, name, "file_path", check=check_files),
        text=text,
        type=_type(kind, name, facts),
        line=line,
        control_path=_file(root, control, "control_file_path", check=check_files) if control else None,
        facts=facts,
        extra=rest,
        row=number,
    )


def _text(row: dict[str, Any], column: str) -> str | None:
    value = row.pop(column, None)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RowError(f"{column} is {type(value).__name__}; allowed: text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise RowError(f"{column} cannot be used: {value[:200]!r}") from error
    return value


def _file(root: RootFolder, name: str, column: str, *, check: bool) -> Path:
    path = root.resolve(name, column=column)
    if check and (problem := file_problem(path)):
        raise RowError(f"{problem}: {name[:200]}")
    return path


def _type(kind: str | None, name: str, facts: Facts) -> Literal["video", "image"]:
    """What is said; otherwise what the number of frames or the name tells."""
    if kind:
        return "image" if kind == "image" else "video"
    if facts.num_frames is not None:
        return "image" if facts.num_frames == 1 else "video"
    return "video" if PurePath(name).suffix.lower() in _VIDEOS else "image"
