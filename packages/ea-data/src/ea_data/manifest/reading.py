"""Reading manifests, row by row or as a whole."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final

from ea_data.manifest.csv_rows import csv_rows
from ea_data.manifest.entry import BadRow, Entry, entry_of
from ea_data.manifest.errors import ManifestError, RowError
from ea_data.manifest.json_rows import json_rows, jsonl_rows
from ea_data.manifest.parquet_rows import parquet_rows
from ea_data.manifest.paths import RootFolder

__all__ = ["NO_ROWS", "SUFFIXES", "Manifest", "iter_manifest", "read_manifest"]

_READERS: Final[Mapping[str, Callable[[BinaryIO], Iterator[tuple[int, Any]]]]] = MappingProxyType(
    {".json": json_rows, ".jsonl": jsonl_rows, ".csv": csv_rows, ".parquet": parquet_rows}
)
SUFFIXES: Final = tuple(_READERS)
_SHOWN: Final = 10
NO_ROWS: Final = "no rows"
"""The reason of the one wrong row of a manifest that has none."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The good rows and the messages about the others.

    Attributes:
        entries: In file order.
        errors: One line each, "FILE:LINE: reason".
    """

    entries: tuple[Entry, ...]
    errors: tuple[str, ...] = ()


def iter_manifest(
    path: str | Path, *, root: str | Path | None = None, check_files: bool = True
) -> Iterator[Entry | BadRow]:
    """Read a manifest row by row, in the memory of a few; every row comes out, as one or the other.

    Args:
        path: A .json (list of objects), .jsonl or .csv file, UTF-8 with or without a mark, or a .parquet file
            (needs the extra `ea-data[parquet]`).
        root: Folder that relative paths start from; the manifest's own by default. A relative path may not
            leave it, by `..` or by a link.
        check_files: Whether a missing file is an error of its row.

    Raises:
        ManifestError: The file cannot be read at all.
    """
    path = Path(path)
    folder = path.parent if root is None else Path(root)
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        raise ManifestError(f"{path}: unknown suffix {path.suffix!r}; allowed: {', '.join(SUFFIXES)}")
    if not folder.is_dir():
        raise ManifestError(f"{path}: the root folder {folder} does not exist")
    return _rows(path, RootFolder(folder), _READERS[suffix], check_files=check_files)


def read_manifest(
    path: str | Path,
    *,
    root: str | Path | None = None,
    check_files: bool = True,
    keep_going: bool = False,
) -> Manifest:
    """Read a whole manifest; see `iter_manifest` for what may be in it.

    Args:
        path: The file.
        root: Folder that relative paths start from; the manifest's own by default.
        check_files: Whether a missing file is an error of its row.
        keep_going: Return good rows and the errors of the others, instead of raising.

    Raises:
        ManifestError: The file cannot be read at all; or any row is wrong, unless `keep_going`.
    """
    entries: list[Entry] = []
    errors: list[str] = []
    for row in iter_manifest(path, root=root, check_files=check_files):
        if isinstance(row, Entry):
            entries.append(row)
        else:
            errors.append(str(row))
    if errors and not keep_going:
        more = [f"... and {len(errors) - _SHOWN} more wrong rows"] if len(errors) > _SHOWN else []
        raise ManifestError("\n".join(errors[:_SHOWN] + more))
    return Manifest(entries=tuple(entries), errors=tuple(errors))


def _rows(
    path: Path,
    root: RootFolder,
    reader: Callable[[BinaryIO], Iterator[tuple[int, Any]]],
    *,
    check_files: bool,
) -> Iterator[Entry | BadRow]:
    count = 0
    if path.exists() and not path.is_file():  # a pipe would be waited for without an end
        raise ManifestError(f"{path}: no file")
    try:
        with path.open("rb") as file:
            for count, (line, row) in enumerate(reader(file), start=1):
                if isinstance(row, RowError):
                    yield BadRow(path, line, str(row))
                    continue
                try:
                    entry = entry_of(row, line, root, number=count - 1, check_files=check_files)
                except RowError as error:
                    yield BadRow(path, line, str(error))
                else:
                    yield entry
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror or error}") from error
    if not count:
        yield BadRow(path, 1, NO_ROWS)
