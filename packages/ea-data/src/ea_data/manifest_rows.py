"""Rows of JSON, JSONL and CSV files with the line where each begins; a wrong row is told, not lost.

Readers give (line, row) and, in place of a row that cannot be read, the `RowError` that says why.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NoReturn


class RowError(ValueError):
    """What is wrong with a row."""


def _strict_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise RowError(f"the key {key[:40]!r} appears twice")
        result[key] = value
    return result


def _no_constant(name: str) -> NoReturn:
    raise RowError(f"{name} is not a JSON value")


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_strict_object, parse_constant=_no_constant)


def _parse(decoder: json.JSONDecoder, text: str, start: int = 0) -> tuple[Any, int]:
    try:
        return decoder.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise RowError(f"not JSON: {error.msg}") from error
    except RecursionError as error:
        raise RowError("not JSON: nested too deeply") from error
    except RowError:
        raise
    except ValueError as error:  # an integer with thousands of digits
        raise RowError(f"not JSON: {error}") from error


def _jsonl_rows(text: str) -> Iterator[tuple[int, Any]]:
    decoder = _decoder()
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped:
            continue
        try:
            row, end = _parse(decoder, stripped)
            yield number, row if end == len(stripped) else RowError("more than one value on the line")
        except RowError as error:
            yield number, error


def _json_rows(text: str) -> Iterator[tuple[int, Any]]:
    """Rows of a JSON list, one by one, so that each knows its line and a wrong one is named."""
    decoder = _decoder()
    place, line = _skip_space(text, 0, 1)
    if text[place : place + 1] != "[":
        yield line, RowError("the file must be a list of objects")
        return
    place, line = _skip_space(text, place + 1, line)
    while text[place : place + 1] != "]":
        try:
            row, end = _parse(decoder, text, place)
        except RowError as error:
            yield line, error  # where the next row begins is unknown: nothing after this can be trusted
            return
        yield line, row
        line += text.count("\n", place, end)
        place, line = _skip_space(text, end, line)
        if text[place : place + 1] == ",":
            place, line = _skip_space(text, place + 1, line)
        elif text[place : place + 1] != "]":
            yield line, RowError("not JSON: ',' or ']' expected")
            return
    place, line = _skip_space(text, place + 1, line)
    if place != len(text):
        yield line, RowError("not JSON: text after the list")


def _skip_space(text: str, place: int, line: int) -> tuple[int, int]:
    while place < len(text) and text[place] in " \t\r\n":
        line += text[place] == "\n"
        place += 1
    return place, line


def _csv_rows(text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for cells in reader:
            if header is None:
                header = cells
                if "file_path" not in header or len(set(header)) != len(header):
                    yield (
                        line,
                        RowError("the first line must name the columns once each, file_path among them"),
                    )
                    return
            elif cells and len(cells) != len(header):
                yield line, RowError(f"{len(cells)} columns; expected {len(header)}")
            elif cells:
                yield line, dict(zip(header, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        yield line, RowError(f"not CSV: {error}")


READERS: Mapping[str, Callable[[str], Iterator[tuple[int, Any]]]] = MappingProxyType(
    {".json": _json_rows, ".jsonl": _jsonl_rows, ".csv": _csv_rows}
)
"""From the content of a file, by suffix."""
