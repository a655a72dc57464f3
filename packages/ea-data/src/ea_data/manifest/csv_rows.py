"""Rows of CSV files with the line where each begins."""

import csv
from collections.abc import Iterator
from typing import Any, BinaryIO

from ea_data.manifest.columns import check_columns
from ea_data.manifest.errors import RowError
from ea_data.manifest.lines import read_lines

__all__ = ["csv_rows"]


class _Lines:
    """Gives lines to the csv module, and takes back those that a broken row has swallowed."""

    def __init__(self, file: BinaryIO) -> None:
        self._lines = read_lines(file)
        self._again: list[tuple[int, str | RowError]] = []
        self.row: list[tuple[int, str | RowError]] = []
        self.wrong: RowError | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        entry = self._again.pop() if self._again else next(self._lines)
        self.row.append(entry)
        if isinstance(entry[1], RowError):
            self.wrong = entry[1]
            raise csv.Error(str(entry[1]))
        return entry[1]

    def begin_row(self) -> None:
        """What is read from here on belongs to the next row."""
        self.row, self.wrong = [], None

    def give_back(self) -> None:
        """Only the first line of the row is lost; the others are read again, as rows of their own."""
        self._again += reversed(self.row[1:])


def csv_rows(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Lines and rows, `RowError` in place of a wrong one."""
    lines = _Lines(file)
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    while True:
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield (
                lines.row[0][0],
                lines.row[0][1] if len(lines.row) == 1 and lines.wrong else RowError(f"not CSV: {error}"),
            )
            lines.give_back()
            if header is None:
                return
            continue
        line = lines.row[0][0]
        if header is None:
            try:
                header = check_columns(cells)
            except RowError as error:
                yield line, RowError(f"{error}{_separator_hint(cells)}")
                return
        elif cells and len(cells) != len(header):
            yield line, RowError(f"{len(cells)} columns; expected {len(header)}")
        elif cells:
            yield line, dict(zip(header, cells, strict=True))


def _separator_hint(cells: list[str]) -> str:
    """What to say of a header that is one cell because its columns are apart by something else."""
    if len(cells) == 1:
        for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if mark in cells[0]:
                return f"; they seem to be separated by {name}, allowed: commas"
    return ""
