"""Files that visitors bring or draw: kept in one folder, under names that are hashes, and removed again."""

import base64
import binascii
import hashlib
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from ea_app.options import InputError
from ea_app.web.files import size_of, text_bytes
from ea_app.web.reader import Reader
from ea_data.media import MediaInfo

_MAX_DRAWING = 4 * 2**20
_MAX_REMEMBERED = 1000
_PNG = "data:image/png;base64,"


class Uploads:
    """One folder.

    Args:
        folder: It; made when something is kept.
        reader: Looks at files.
    """

    def __init__(self, folder: Path, reader: Reader) -> None:
        self.folder = folder.absolute()
        self.reader = reader
        self._media: dict[str, MediaInfo] = {}

    def path(self, field: str, given: object) -> str:
        """An uploaded file.

        Raises:
            InputError: It is not in the folder.
        """
        if not isinstance(given, str) or (found := self.known(given)) is None:
            raise InputError(field, "must be an uploaded file; add it again")
        return found

    def media(self, field: str, given: object) -> MediaInfo:
        """An uploaded picture or video, told by its content. `MediaInfo.path` is where it is.

        Raises:
            InputError: It is not in the folder, neither of the two, or too large.
        """
        path = self.path(field, given)
        if path not in self._media:  # folders are named after what is in them
            if len(self._media) >= _MAX_REMEMBERED:
                self._media.clear()
            try:
                self._media[path] = self.reader.examine(Path(path), field)
            except InputError as error:
                raise InputError(field, error.reason.replace(path, "the file")) from None
        return self._media[path]

    def picture(self, field: str, given: object, *, side: int, signal: str = "") -> str:
        """The picture, or the first frame of a video, as a small data address.

        Raises:
            InputError: As `media`, or the signal cannot be made of it.
        """
        path = Path(self.media(field, given).path)
        content = self.reader.picture(path, field, side=side, signal=signal)
        return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"

    def note(self, field: str, given: object) -> tuple[Path, str]:
        """An uploaded result, with the text inside it; of a text, all of it.

        Raises:
            InputError: It is not in the folder, is no picture, video, zip of pictures or text, or holds none.
        """
        path = Path(self.path(field, given))
        if path.suffix == ".json" and path.stat().st_size > _MAX_DRAWING:
            raise InputError(field, f"is too long; allowed: at most {_MAX_DRAWING} bytes")
        try:
            text = path.read_text("utf-8") if path.suffix == ".json" else self.reader.note(path, field)
        except InputError as error:
            raise InputError(field, error.reason.replace(str(path), "the file")) from None
        except UnicodeDecodeError:
            text = None
        if text is None:
            raise InputError(field, "carries no record of how it was made")
        return path, text

    def known(self, given: object) -> str | None:
        """The path of a file in the folder, None for any other."""
        try:
            path = Path(str(given)).resolve(strict=True)
        except (OSError, ValueError):
            return None
        return str(path) if path.is_file() and path.is_relative_to(self.folder.resolve()) else None

    def keep_drawing(self, field: str, given: object) -> str:
        """A drawn picture, given as a data address of a PNG.

        Raises:
            InputError: It is none, or too large.
        """
        if not isinstance(given, str) or not given.startswith(_PNG) or len(given) > _MAX_DRAWING:
            raise InputError(field, "must be a drawn picture; draw it again")
        try:
            content = base64.b64decode(given.removeprefix(_PNG), validate=True)
        except (binascii.Error, ValueError) as error:
            raise InputError(field, f"cannot be read: {error}") from None
        return self.media(field, self._keep(content, ".png")).path

    def keep_text(self, field: str, given: object, suffix: str) -> str:
        """A text as a file.

        Raises:
            InputError: It is no text, or too long.
        """
        return self._keep(text_bytes(field, given), suffix)

    def text(self, given: object) -> str | None:
        """The content of a text that was kept, None when it is gone."""
        path = self.known(given)
        return None if path is None else Path(path).read_text(encoding="utf-8")

    def measure(self) -> int:
        """Bytes of all files."""
        return size_of(self.folder)

    def clean(self, used: Iterable[str], age: float) -> int:
        """Remove what no job uses and is older than so many seconds; returns how many."""
        if not self.folder.is_dir():
            return 0
        wanted = {Path(path).resolve().parent for path in used}
        removed = 0
        for place in self.folder.iterdir():
            if place.resolve() not in wanted and time.time() - place.stat().st_mtime > age:
                shutil.rmtree(place, ignore_errors=True)
                removed += 1
        return removed

    def _keep(self, content: bytes, suffix: str) -> str:
        place = self.folder / hashlib.sha256(content).hexdigest()
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"drawn{suffix}"
        path.write_bytes(content)
        return str(path)
