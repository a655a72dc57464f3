"""What stages measured, on disk: found again by a key of everything that it depends on.

One file for each stage, to which a line is appended for every result. A line begins with a checksum of the
rest. A process that is killed leaves at most one line that is not whole, and that line is passed over.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import xxhash

from ea_data.media.errors import media_errors
from ea_data.store import digest_text

__all__ = ["Results", "key_of"]

_CHECK: Final = 16


def key_of(fingerprint: Mapping[str, Any], digest: str, columns: Mapping[str, Any]) -> str:
    """The key of a result.

    Args:
        fingerprint: Of the stage.
        digest: Of the file.
        columns: Those that the stage reads.
    """
    parts = {"stage": fingerprint, "digest": digest, "columns": columns}
    return digest_text(json.dumps(parts, sort_keys=True, ensure_ascii=True))


class Results:
    """The results of one stage; use it in a `with` block.

    Args:
        path: The file; made when the first result is added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found = dict(_lines(path))
        self._file: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: str) -> Any:
        """What was measured, or None."""
        return self._found.get(key)

    def add(self, key: str, value: Any) -> Any:
        """Keep a result.

        Returns:
            The value as it will be found again: JSON knows no tuples.

        Raises:
            MediaError: The disk is full, or the folder cannot be written.
        """
        text = json.dumps({"key": key, "value": value}, ensure_ascii=False, allow_nan=False)
        with media_errors(self._path, "write"):
            if self._file is None:
                self._file = self._opened()
            self._file.write(f"{_check(text)} {text}\n".encode())
            self._file.flush()
        self._found[key] = json.loads(text)["value"]
        return self._found[key]

    def _opened(self) -> Any:
        """The file at its end, after a line that was not finished."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        torn = self._path.exists() and self._path.read_bytes()[-1:] not in (b"\n", b"")
        file = self._path.open("ab")
        if torn:
            file.write(b"\n")
        return file


def _lines(path: Path) -> list[tuple[str, Any]]:
    if not path.exists():
        return []
    found = []
    with media_errors(path, "read"):
        for line in path.read_bytes().split(b"\n"):
            text = line[_CHECK + 1 :].decode(errors="replace")
            if text and line[:_CHECK].decode(errors="replace") == _check(text):
                entry = json.loads(text)
                found.append((entry["key"], entry["value"]))
    return found


def _check(text: str) -> str:
    return xxhash.xxh3_64_hexdigest(text.encode())
