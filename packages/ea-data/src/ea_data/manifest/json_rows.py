"""Rows of JSON and JSONL files with the line where each begins."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, Literal, NoReturn

from ea_data.manifest.errors import RowError
from ea_data.manifest.lines import MAX_ROW, read_lines

__all__ = ["json_rows", "jsonl_rows"]

_CHUNK: Final = 1 << 20
_SPACE: Final = re.compile(r"[ \t\r\n]*")
# What matters for where a row ends: strings as a whole, so that brackets in them do not count.
_TOKEN: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|[\[\]{}"]')
_OBJECT_LINE: Final = re.compile(r"\n[ \t\r]*\{")
_STRAY: Final = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of bytes that are not UTF-8


def jsonl_rows(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Lines and values, `RowError` in place of a wrong one."""
    decoder = _decoder()
    for number, line in read_lines(file):
        if isinstance(line, RowError):
            yield number, line
            continue
        stripped = line.strip()
        if not stripped:
            continue
        try:
            row, end = _parse(decoder, stripped, 0)
            yield number, row if end == len(stripped) else RowError("more than one value on the line")
        except RowError as error:
            yield number, error


def json_rows(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Lines and values of a JSON list, `RowError` in place of a wrong one.

    The file is read piece by piece. After a wrong value the next one is found by its brackets, or at a line
    that begins with one; where neither says, the error is the last.
    """
    text = _Text(file)
    if text.peek() != "[":
        yield text.line, RowError("the file must be a list of objects")
        return
    text.skip(1)
    decoder = _decoder()
    while text.peek() != "]":
        line = text.line
        try:
            yield line, text.value(decoder)
        except RowError as error:
            yield line, error
            after = text.skip_value()
            if after == "lost":
                return
            if after == "next":
                continue
        if text.peek() == ",":
            text.skip(1)
            if text.peek() == "]":
                yield text.line, RowError("not JSON: a value expected after ','")
        elif text.peek() != "]":
            yield text.line, RowError("not JSON: ',' or ']' expected")
            return
    text.skip(1)
    if text.peek():
        yield text.line, RowError("not JSON: text after the list")


class _Text:
    """The part of a file that is being looked at, and its line number."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text, self._place, self._ended = "", 0, False
        self.line = 1

    def peek(self) -> str:
        """The next character that is no space, "" at the end."""
        while True:
            end = _SPACE.match(self._text, self._place).end()  # pyright: ignore[reportOptionalMemberAccess]
            self.skip(end - self._place)
            if end < len(self._text) or not self._fill():
                return self._text[end : end + 1]

    def skip(self, count: int) -> None:
        """Go on by some characters."""
        self.line += self._text.count("\n", self._place, self._place + count)
        self._place += count

    def value(self, decoder: json.JSONDecoder) -> Any:
        """The value that begins here, reading on until it is whole.

        Raises:
            RowError: It is none; the place stays where it was.
        """
        while True:
            try:
                row, end = _parse(decoder, self._text, self._place)
            except RowError:
                if len(self._text) - self._place < MAX_ROW and self._fill():
                    continue
                raise
            # A number at the end of a piece may go on in the next one.
            if end < len(self._text) or not self._fill():
                break
        if _STRAY.search(self._text, self._place, end):
            raise RowError("not UTF-8")
        self.skip(end - self._place)
        return row

    def skip_value(self) -> Literal["closed", "next", "lost"]:
        """Go on after a value that could not be read.

        Returns:
            Whether its brackets close, and the place is behind it; or it is at a later line that begins with
            an object (no string goes over the end of a line, so that this is none inside of one); or neither.
        """
        open_brackets: list[str] = []
        for token in _TOKEN.finditer(self._text, self._place, self._place + MAX_ROW):
            mark = token[0]
            if mark in "[{":
                open_brackets.append("]" if mark == "[" else "}")
            elif mark in "]}":
                if not open_brackets or open_brackets.pop() != mark:
                    break
                if not open_brackets:
                    self.skip(token.end() - self._place)
                    return "closed"
            elif mark == '"':
                break
        following = _OBJECT_LINE.search(self._text, self._place, self._place + MAX_ROW)
        if following is None:
            return "lost"
        self.skip(following.end() - 1 - self._place)
        return "next"

    def _fill(self) -> bool:
        """Read another piece, as long as what is left, so that a long row is not looked at too often."""
        if self._ended:
            return False
        data = self._file.read(max(_CHUNK, len(self._text) - self._place))
        self._ended = not data
        self._text = self._text[self._place :] + self._decoder.decode(data, final=self._ended)
        self._place = 0
        return True


def _strict_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RowError(f"the key {twice[:40]!r} appears twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise RowError(f"{name} is not a JSON value")


def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_strict_object, parse_constant=_no_constant)


def _parse(decoder: json.JSONDecoder, text: str, start: int) -> tuple[Any, int]:
    try:
        return decoder.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise RowError(f"not JSON: {error.msg}") from error
    except RecursionError as error:
        raise RowError("not JSON: nested too deeply") from error
    except RowError:
        raise
    except ValueError as error:
        raise RowError("a whole number has thousands of digits; allowed: at most 4300") from error
