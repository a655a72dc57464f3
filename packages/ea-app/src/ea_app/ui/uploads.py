"""Files that visitors bring or draw: kept in one folder, under names that are hashes, and removed again."""

import base64
import binascii
import hashlib
import io
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from ea_app.options import InputError

_MAX_DRAWING = 4 * 2**20
_MAX_TEXT = 2**20
_MAX_PIXELS = 4096 * 4096
_PNG = "data:image/png;base64,"


class Uploads:
    """One folder.

    Args:
        folder: It; made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def path(self, field: str, given: object) -> str:
        """An uploaded file.

        Raises:
            InputError: It is not in the folder.
        """
        if not isinstance(given, str) or (found := self.known(given)) is None:
            raise InputError(field, "must be an uploaded file; add it again")
        return found

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
            with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
                if picture.width * picture.height > _MAX_PIXELS:
                    raise InputError(field, f"must have at most {_MAX_PIXELS} pixels")
                picture.verify()
        except (binascii.Error, OSError, SyntaxError, ValueError) as error:
            raise InputError(field, f"cannot be read: {error}") from None
        return self._keep(content, ".png")

    def keep_text(self, field: str, given: object, suffix: str) -> str:
        """A text as a file.

        Raises:
            InputError: It is no text, or too long.
        """
        if not isinstance(given, str) or len(given) > _MAX_TEXT:
            raise InputError(field, f"must be text of at most {_MAX_TEXT} letters")
        return self._keep(given.encode("utf-8", "replace"), suffix)

    def text(self, given: object) -> str | None:
        """The content of a text that was kept, None when it is gone."""
        path = self.known(given)
        return None if path is None else Path(path).read_text(encoding="utf-8")

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
