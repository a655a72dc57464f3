"""What is in media files: each is read once, and again only after it has changed."""

import json
import os
import uuid
from pathlib import Path
from typing import Any, Final, cast

from ea_data.store import CacheError, digest_file

FILE_NAME: Final = "files.json"
"""Beside the shards of a store: digests by path, size and time of the last change."""

_VERSION: Final = 1


class FileDigests:
    """Digests of files, remembered.

    A file that changes and keeps its size and its time of change is not noticed.

    Args:
        folder: Of the store, where the memory is.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._known = _read(self.path)
        self._new: dict[str, list[str]] = {}

    def __call__(self, path: Path) -> str:
        """The digest of a file.

        Raises:
            CacheError: It cannot be read.
        """
        name, stamp = str(path.absolute()), _stamp(path)
        known = self._known.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        digest = digest_file(path)
        if _stamp(path) == stamp:  # not one that is being written
            self._known[name] = self._new[name] = [stamp, digest]
        return digest

    def take(self, other: dict[str, list[str]]) -> None:
        """Learn what another process found, see `found`."""
        for name, known in other.items():
            if self._known.get(name) != known:
                self._known[name] = self._new[name] = known

    def found(self) -> dict[str, list[str]]:
        """What was read since the last call or `save`."""
        found, self._new = self._new, {}
        return found

    def save(self) -> None:
        """Remember what is new on disk. What another process writes at the same moment may be read again.

        Raises:
            CacheError: It cannot be written.
        """
        if not self._new:
            return
        files = {**_read(self.path), **self._new}
        draft = self.path.with_name(f".{FILE_NAME}.{uuid.uuid4().hex[:12]}")
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump({"version": _VERSION, "files": files}, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except OSError as error:
            raise CacheError(f"cannot write {self.path}: {error.strerror or error}") from error
        finally:
            draft.unlink(missing_ok=True)
        self._new = {}


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        raise CacheError(f"cannot read {path}: {error.strerror or error}") from error
    return f"{status.st_size} {status.st_mtime_ns}"


def _read(path: Path) -> dict[str, list[str]]:
    """What is remembered; a file that is none is as good as no file, since all in it can be read again."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        files = content["files"] if content["version"] == _VERSION else {}
        good = all(
            len(known) == 2 and all(isinstance(part, str) for part in known) for known in files.values()
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}
    return cast("dict[str, list[str]]", files) if good else {}
