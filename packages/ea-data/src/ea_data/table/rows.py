"""Rows of a manifest as plain values: read with absolute names of files, written with names that fit."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final

from ea_data.manifest import SUFFIXES
from ea_data.manifest.columns import rename
from ea_data.manifest.csv_rows import csv_rows
from ea_data.manifest.errors import ManifestError, RowError
from ea_data.manifest.json_rows import json_rows, jsonl_rows
from ea_data.manifest.parquet_rows import parquet_rows
from ea_data.manifest.paths import RootFolder
from ea_data.media import MediaError, write_text
from ea_data.media.atomic import atomic_path
from ea_data.media.errors import media_errors

__all__ = ["FILE", "TableRow", "check_suffix", "columns_of", "read_rows", "write_rows"]

TableRow = dict[str, Any]

FILE: Final = "file_path"
_READERS: Final = {".json": json_rows, ".jsonl": jsonl_rows, ".csv": csv_rows, ".parquet": parquet_rows}
_TEXTS: Final = ("text", "type", "source", "caption")


def read_rows(path: Path) -> list[TableRow]:
    """All rows of a manifest, in its order.

    Names of files become absolute, `path` becomes `file_path`, and columns of a .csv file that hold numbers
    alone become numbers.

    Raises:
        ValueError: It cannot be read, or a row is wrong, with its line.
    """
    check_suffix(path)
    root, rows = RootFolder(path.parent), list[TableRow]()
    with media_errors(path, "read"), path.open("rb") as file:
        for line, row in _lines(path, file):
            try:
                if isinstance(row, RowError):
                    raise row
                rows.append(_row(row, root))
            except RowError as error:
                raise ManifestError(f"{path}:{line}: {error}") from error
    if path.suffix.lower() == ".csv":
        _make_numbers(rows)
    return rows


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], *, absolute: bool = False) -> Path:
    """Write a manifest, whole or not at all.

    Args:
        path: .json, .jsonl, .csv or .parquet.
        rows: As `read_rows` gives them.
        absolute: Leave names of files absolute; else those of files below the folder of `path` are relative.

    Raises:
        ValueError: A wrong suffix, a value that the format cannot hold, or a full disk.
    """
    check_suffix(path)
    folder = None if absolute else path.parent.resolve()
    named = [{name: _written(name, value, folder) for name, value in row.items()} for row in rows]
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _write_parquet(path, named)
    if suffix == ".csv":
        return write_text(path, _csv(named))
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in named]
    text = "[\n" + ",\n".join(lines) + "\n]" if suffix == ".json" else "\n".join(lines)
    return write_text(path, f"{text}\n" if text else "")


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """All columns, in the order in which they are first met."""
    found: dict[str, None] = {}
    for row in rows:
        found.update(dict.fromkeys(row))
    return list(found)


def check_suffix(path: Path) -> None:
    """Refuse what is no manifest by its name.

    Raises:
        MediaError: It has another suffix.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise MediaError(f"{path}: unknown suffix {path.suffix!r}; allowed: {', '.join(SUFFIXES)}")


def _lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, Any]]:
    return _READERS[path.suffix.lower()](file)


def _row(row: object, root: RootFolder) -> TableRow:
    if not isinstance(row, dict):
        raise RowError(f"a row must be an object with file_path, not {type(row).__name__}")
    found = rename(row)
    if not isinstance(found.get(FILE), str):
        raise RowError("file_path is missing")
    for name, value in found.items():
        if _is_file(name) and isinstance(value, str) and value:
            found[name] = str(root.resolve(value, column=name))
    return found


def _is_file(name: str) -> bool:
    return name == FILE or name.endswith(f"_{FILE}")


def _written(name: str, value: Any, folder: Path | None) -> Any:
    if folder is None or not _is_file(name) or not isinstance(value, str) or not value:
        return value
    path = Path(value)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else value


def _make_numbers(rows: Sequence[TableRow]) -> None:
    for name in columns_of(rows):
        if name in _TEXTS or _is_file(name):
            continue
        values = [_number(row[name]) for row in rows]
        if all(value is not None for value in values) and not all(value == "" for value in values):
            for row, value in zip(rows, values, strict=True):
                row[name] = None if value == "" else value


def _number(text: str) -> int | float | str | None:
    """A number; "" where there is nothing; None for a text."""
    plain = text.strip()
    if plain.lower() in ("", "nan", "none", "null"):
        return ""
    for kind in (int, float):
        try:
            value = kind(plain)
        except ValueError:
            continue
        return value if math.isfinite(value) else None
    return None


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    columns = columns_of(rows) or [FILE]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        if wrong := [name for name, value in row.items() if isinstance(value, list | dict)]:
            raise ValueError(f"column {wrong[0]} has lists or objects, which a .csv file cannot hold")
        writer.writerow({name: "" if value is None else value for name, value in row.items()})
    return text.getvalue()


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    try:
        pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as error:
        how = "pip install 'ea-data[parquet]'"
        raise ManifestError(f"parquet needs pyarrow ({error}); install it with: {how}") from error
    columns = columns_of(rows) or [FILE]
    try:
        table = pyarrow.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows])
    except pyarrow.ArrowException as error:
        raise ValueError(f"cannot write {path}: {' '.join(str(error).split())[:200]}") from error
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary)
    return path
