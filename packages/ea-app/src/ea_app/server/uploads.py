"""Files that clients sent: checked by what is in them, kept while a job may read them, then removed."""

import base64
import binascii
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ea_app.api.intake import suffix_of
from ea_app.jobs import JobView, State
from ea_app.options import InputError
from ea_app.server.errors import ApiError
from ea_app.web.files import size_of, text_bytes
from ea_app.web.reader import Reader

FOLDER = "uploads"

_DATA_URL = re.compile(r"data:[a-z0-9.+/-]{0,100}(;[a-z0-9=._-]{0,100})*;base64,", re.IGNORECASE)
_ADDRESS = re.compile(r"\s*[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)
_FRESH_SECONDS = 600.0
_NAME = re.compile(r"[0-9a-f]{24}")


class Uploads:
    """A folder with one folder for the files of every request.

    Args:
        state_folder: Where jobs are kept.
        max_bytes: Of all files together.
        max_pixels: Width times height times frames of one file.
        reader: Looks at them.
    """

    def __init__(self, state_folder: Path, reader: Reader, *, max_bytes: int, max_pixels: int) -> None:
        self.folder = state_folder / FOLDER
        self.folder.mkdir(parents=True, exist_ok=True)
        self._max_bytes, self._max_pixels, self._reader = max_bytes, max_pixels, reader
        self._bytes = size_of(self.folder)
        self._lock = threading.Lock()

    def keep(self, field: str, data: bytes, place: Path) -> Path:
        """Write a picture or a video, and look at it.

        Args:
            field: The option that it is for.
            data: Its content.
            place: Result of `new`.

        Raises:
            InputError: It is no picture or video, or too large.
            ApiError: 503 where there is no room.
        """
        path = self._write(place / f"{field}-{len(list(place.iterdir()))}", data)
        try:
            named = path.rename(path.with_suffix(suffix_of(path, field)))
            self._reader.examine(named, field, max_volume=self._max_pixels)
        except InputError as error:
            raise InputError(
                field, error.reason.replace(str(path), "the file").replace(str(place), "")
            ) from None
        return named

    def keep_text(self, field: str, given: object, suffix: str, place: Path) -> Path:
        """Write a text.

        Raises:
            InputError: It is no UTF-8, or too large.
        """
        return self._write(place / f"{field}{suffix}", text_bytes(field, given))

    def new(self) -> Path:
        """A folder for the files of one request."""
        place = self.folder / secrets.token_hex(12)
        place.mkdir()
        return place

    def remove(self, place: Path) -> None:
        """Remove such a folder."""
        shutil.rmtree(place, ignore_errors=True)

    def remove_of(self, view: JobView) -> None:
        """Remove the files of a job that is forgotten."""
        for name in names_in(view.options, self.folder):
            self.remove(self.folder / name)

    def sweep(self, views: Iterable[JobView]) -> None:
        """Remove what no job will read again: jobs that are done do not, and failed ones may be resumed."""
        needed = {
            name
            for view in views
            if view.state is not State.DONE
            for name in names_in(view.options, self.folder)
        }
        now = time.time()
        for place in list(self.folder.iterdir()):
            try:
                fresh = now - place.stat().st_mtime < _FRESH_SECONDS
            except OSError:  # removed meanwhile
                continue
            if place.name not in needed and not fresh:
                self.remove(place)
        with self._lock:
            self._bytes = size_of(self.folder)

    def _write(self, path: Path, data: bytes) -> Path:
        with self._lock:
            if self._bytes + len(data) > self._max_bytes:
                self._bytes = size_of(self.folder)
            if self._bytes + len(data) > self._max_bytes:
                wait = {"Retry-After": "60"}
                raise ApiError(
                    503, "there is no room for files now; try again later", code="storage", headers=wait
                )
            self._bytes += len(data)
        try:
            path.write_bytes(data)
        except OSError as error:
            reason = f"files cannot be written now: {error.strerror}"
            raise ApiError(503, reason, code="storage", headers={"Retry-After": "60"}) from None
        return path


def names_in(options: Any, folder: Path) -> Iterator[str]:
    """Names of the folders of uploads that options name."""
    if isinstance(options, Mapping):
        for value in options.values():
            yield from names_in(value, folder)
    elif isinstance(options, list | tuple):
        for value in options:
            yield from names_in(value, folder)
    elif isinstance(options, str) and options.startswith(str(folder)):
        name = Path(options).parent.name
        if _NAME.fullmatch(name):
            yield name


def content_of(field: str, raw: bytes | str | Mapping[str, Any]) -> bytes:
    """The bytes of a file that was sent, in a form or as base64 in JSON.

    Raises:
        InputError: It is an address, or no base64.
    """
    if isinstance(raw, Mapping):  # OpenAI's {"image_url": "data:..."}
        raw = raw.get("image_url", b"") if set(raw) == {"image_url"} else b""
    if isinstance(raw, bytes):
        data = raw
    elif not isinstance(raw, str):
        raise InputError(field, "must be a file, base64 or a data: URL")
    else:
        if _ADDRESS.match(raw):
            raise InputError(field, "must be a file, base64 or a data: URL; addresses are not fetched")
        found = _DATA_URL.match(raw)
        try:
            data = base64.b64decode("".join(raw[found.end() if found else 0 :].split()), validate=True)
        except (binascii.Error, ValueError):
            rule = "must be a file, base64 or a data: URL; names of files are not read"
            raise InputError(field, rule) from None
    if not data:
        raise InputError(field, "must not be empty")
    return data
