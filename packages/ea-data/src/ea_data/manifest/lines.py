"""Lines of a text file, with the ones that are not text named and passed over."""

from collections.abc import Iterator
from typing import BinaryIO, Final

from ea_data.manifest.errors import RowError

__all__ = ["MAX_ROW", "read_lines"]

MAX_ROW: Final = 1 << 22
"""Bytes of the longest row that is read."""

_MARK: Final = b"\xef\xbb\xbf"


def read_lines(file: BinaryIO) -> Iterator[tuple[int, str | RowError]]:
    """Numbers from 1 and lines with their ends, or what is wrong with one."""
    number = 0
    while line := file.readline(MAX_ROW):
        number += 1
        if number == 1:
            line = line.removeprefix(_MARK)
        if len(line) == MAX_ROW and not line.endswith(b"\n"):
            while (more := file.readline(MAX_ROW)) and not more.endswith(b"\n"):
                pass
            yield number, RowError(f"the line is too long; allowed: at most {MAX_ROW} bytes")
            continue
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            yield number, RowError(f"not UTF-8 at byte {error.start} of the line")
