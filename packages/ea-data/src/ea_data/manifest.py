"""Manifests: lists of (file, text, type) as JSON, JSONL or CSV.

Each row has `file_path` (relative to a root folder, or absolute), `text` and `type` ("video" or "image").
Other keys are kept as `extra`. A wrong row is an error that names file and line; it never disappears.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final, Literal

from ea_data.manifest_rows import READERS, RowError

__all__ = [
    "MAX_TEXT",
    "Entry",
    "Manifest",
    "ManifestError",
    "read_manifest",
    "resolve_inside",
]

MAX_TEXT: Final = 20_000
_TYPES: Final = ("video", "image")
_MAX_BYTES: Final = 1 << 30


class ManifestError(ValueError):
    """A manifest cannot be used; one line per problem, each beginning with file:line."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row.

    Attributes:
        path: The file, absolute.
        text: The caption, may be empty.
        type: "video" or "image".
        line: Where the row begins, for messages.
        extra: All other keys.
    """

    path: Path
    text: str
    type: Literal["video", "image"]
    line: int
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The good rows and the messages about the others.

    Attributes:
        entries: In file order.
        errors: One line each, "FILE:LINE: reason".
    """

    entries: tuple[Entry, ...]
    errors: tuple[str, ...] = ()


def read_manifest(
    path: str | Path,
    *,
    root: str | Path | None = None,
    check_files: bool = True,
    keep_going: bool = False,
) -> Manifest:
    """Read a manifest.

    Args:
        path: A .json (list of objects), .jsonl or .csv file, UTF-8 with or without a mark.
        root: Folder that relative paths start from; the manifest's own by default. A relative path may not
            leave it, by `..` or by a link.
        check_files: Whether a missing file is an error of its row.
        keep_going: Return good rows and the errors of the others, instead of raising.

    Raises:
        ManifestError: The file cannot be read at all; or any row is wrong, unless `keep_going`.
    """
    path = Path(path)
    root = path.parent if root is None else Path(root)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ManifestError(f"{path}: unknown suffix {path.suffix!r}; allowed: {', '.join(READERS)}")
    if not root.is_dir():
        raise ManifestError(f"{path}: the root folder {root} does not exist")
    text = _read_text(path)
    entries: list[Entry] = []
    errors: list[str] = []
    for line, row in READERS[suffix](text):
        try:
            if isinstance(row, RowError):
                raise row
            entries.append(_entry(row, line, root.resolve(), check_files=check_files))
        except RowError as error:
            errors.append(f"{path}:{line}: {error}")
    if not entries and not errors:
        errors.append(f"{path}:1: no rows")
    if errors and not keep_going:
        more = [f"... and {len(errors) - 10} more wrong rows"] if len(errors) > 10 else []
        raise ManifestError("\n".join(errors[:10] + more))
    return Manifest(entries=tuple(entries), errors=tuple(errors))


def _read_text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for without an end
            raise ManifestError(f"{path}: no file")
        if path.stat().st_size > _MAX_BYTES:
            raise ManifestError(f"{path}: more than {_MAX_BYTES} bytes")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 at byte {error.start}") from error


def _entry(row: object, line: int, root: Path, *, check_files: bool) -> Entry:
    if not isinstance(row, dict):
        raise RowError(f"a row must be an object with file_path, text and type, not {type(row).__name__}")
    values: dict[str, str] = {}
    for key, default in (("file_path", None), ("text", ""), ("type", "video")):
        value = row.get(key, default)
        if value is None and default is None:
            raise RowError(f"{key} is missing")
        if not isinstance(value, str):
            raise RowError(f"{key} is {type(value).__name__}; allowed: text")
        values[key] = value
    if values["type"] not in _TYPES:
        raise RowError(f"type is {values['type'][:40]!r}; allowed: {', '.join(_TYPES)}")
    if len(values["text"]) > MAX_TEXT:
        raise RowError(f"text has {len(values['text'])} characters; allowed: at most {MAX_TEXT}")
    path = resolve_inside(root, values["file_path"])
    if check_files and not path.is_file():
        raise RowError(f"no such file: {values['file_path'][:200]}")
    extra = {key: value for key, value in row.items() if key not in values}
    kind: Literal["video", "image"] = "image" if values["type"] == "image" else "video"
    return Entry(path=path, text=values["text"], type=kind, line=line, extra=extra)


def resolve_inside(root: Path, name: str) -> Path:
    """The file that a manifest row names.

    Raises:
        ValueError: An empty or malformed name, or a relative one that leaves the root.
    """
    shown = name[:200]
    if not name.strip() or "\0" in name:
        raise RowError("file_path is empty or contains a NUL character")
    try:
        name.encode()
        if Path(name).is_absolute():
            return Path(name)
        if ".." in PurePosixPath(name).parts or ".." in PureWindowsPath(name).parts:
            raise RowError(f"file_path contains '..': {shown}")
        path = (root / name).resolve()
    except (OSError, UnicodeError, RuntimeError) as error:
        raise RowError(f"file_path cannot be used: {shown!r}") from error
    if not path.is_relative_to(root.resolve()):
        raise RowError(f"file_path leaves the root folder through a link: {shown}")
    return path
