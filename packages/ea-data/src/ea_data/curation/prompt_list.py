"""Lists of prompts: a row without a file for each text of a file."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from ea_data.curation.row import Row
from ea_data.manifest.errors import RowError
from ea_data.manifest.json_rows import jsonl_rows
from ea_data.manifest.lines import MAX_ROW, read_lines
from ea_data.media import MediaError
from ea_data.media.errors import media_errors
from ea_data.store import digest_text

__all__ = ["PROMPT_SUFFIXES", "is_prompt_list", "prompt_rows"]

PROMPT_SUFFIXES: Final = (".txt", ".csv", ".jsonl")
"""A text file with a prompt on each line, or tables with a column of prompts and none of files."""

_COLUMNS: Final = ("prompt", "text", "caption")
_FILES: Final = ("file_path", "path")
_LONGEST: Final = 20_000


def is_prompt_list(path: Path) -> bool:
    """Whether a file is a list of prompts: any `.txt`, and a table that has texts and no column of files.

    Raises:
        MediaError: The file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in PROMPT_SUFFIXES or not path.is_file():
        return False
    if suffix == ".txt":
        return True
    with media_errors(path, "read"):
        columns = _header(path) if suffix == ".csv" else _first_keys(path)
    return not set(columns) & set(_FILES) and bool(set(columns) & set(_COLUMNS))


def prompt_rows(path: Path, label: str) -> list[Row]:
    """A row of the kind `text` for each prompt; it is named after the file and the line.

    Args:
        path: One for which `is_prompt_list` is true.
        label: Of the stage that ends rows without a usable prompt.

    Raises:
        MediaError: The file cannot be read.
    """
    with media_errors(path, "read"):
        return [_row(path, line, text, label) for line, text in _texts(path)]


def _row(path: Path, line: int, text: str | RowError, label: str) -> Row:
    name = f"{path.name}:{line}"
    row = Row(name=name, path=path.resolve(), kind="text", digest="", source=name)
    if isinstance(text, RowError):
        return row.ended(label, str(text), failed=True)
    prompt = " ".join(text.split())
    if not 0 < len(prompt) <= _LONGEST:
        reason = f"the prompt has {len(prompt)} characters; allowed: 1 to {_LONGEST}"
        return row.ended(label, reason, failed=True)
    found = Row(name=name, path=row.path, kind="text", digest=digest_text(prompt), source=name)
    return found.known({"text": prompt})


def _texts(path: Path) -> Iterator[tuple[int, str | RowError]]:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        yield from _csv_texts(path)
        return
    with path.open("rb") as file:
        if suffix == ".txt":
            yield from (
                (line, text) for line, text in read_lines(file) if isinstance(text, RowError) or text.strip()
            )
        else:
            yield from ((line, _text_of(row)) for line, row in jsonl_rows(file))


def _csv_texts(path: Path) -> Iterator[tuple[int, str | RowError]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for row in reader:
                yield reader.line_num, _text_of(row)
        except csv.Error as error:
            raise MediaError(f"cannot read {path}: line {reader.line_num}: {error}") from error


def _text_of(row: object) -> str | RowError:
    if isinstance(row, RowError):
        return row
    values = cast(Mapping[str, Any], row) if isinstance(row, dict) else {}
    if any(values.get(name) for name in _FILES):
        return RowError("it names a file, in a list of prompts")
    found = [values[name] for name in _COLUMNS if values.get(name)]
    if len(found) != 1 or not isinstance(found[0], str):
        return RowError(f"expected one text in one of the columns {', '.join(_COLUMNS)}")
    return found[0]


def _header(path: Path) -> Sequence[str]:
    with path.open("rb") as file:
        first = file.readline(MAX_ROW).decode("utf-8-sig")
    return next(csv.reader([first]), [])


def _first_keys(path: Path) -> Sequence[str]:
    with path.open("rb") as file:
        for _, row in jsonl_rows(file):
            if isinstance(row, dict):
                return list(cast(dict[str, Any], row))
    return []
