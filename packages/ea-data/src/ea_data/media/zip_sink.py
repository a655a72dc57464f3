"""Numbered pictures in one file."""

import io
import zipfile
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from ea_data.media.atomic import discard, put_in_place, temporary_name
from ea_data.media.errors import MediaError
from ea_data.media.metadata import PNG_KEY, TextSource, final_text
from ea_data.media.sequence import picture_name

__all__ = ["ZipSink"]

_MOST_IN_MEMORY: Final = 1 << 26


class ZipSink:
    """`00000.png`, `00001.png` and so on, stored, since png is compressed already.

    Args:
        path: Output, .zip.
        metadata: A text of the first picture, see `TextSource`. If it is known in the end only, the pictures
            after that one wait as png until then, more than 64 MiB of them in a file without a name.
    """

    def __init__(self, path: Path, metadata: TextSource) -> None:
        self._path, self._temporary, self._metadata = path, temporary_name(path), metadata
        self._archive: zipfile.ZipFile | None = None
        self._first: NDArray[np.uint8] | None = None
        self._waiting = SpooledTemporaryFile(  # noqa: SIM115  (closed by `abandon`)
            max_size=_MOST_IN_MEMORY, dir=str(path.parent)
        )
        self._sizes: list[int] = []
        self._count = 0

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Write a frame (H, W, 3)."""
        if not callable(self._metadata):
            self._write(_png(picture, None if self._count else self._metadata))
        elif self._first is None:
            self._first = picture.copy()
        else:
            self._sizes.append(self._waiting.write(_png(picture, None)))

    def finish(self) -> Path:
        """Close the file, check it, rename it.

        Raises:
            MediaError: A picture came back damaged.
        """
        if self._first is not None:
            self._write(_png(self._first, final_text(self._metadata)))
            self._waiting.seek(0)
            for size in self._sizes:
                self._write(self._waiting.read(size))
        assert self._archive is not None
        self._archive.close()
        with zipfile.ZipFile(self._temporary) as archive:
            if (broken := archive.testzip()) is not None or len(archive.namelist()) != self._count:
                raise MediaError(f"cannot write {self._path}: {broken or 'a picture'} came back damaged")
        put_in_place(self._temporary, self._path)
        return self._path

    def abandon(self) -> None:
        """Remove what was begun."""
        self._waiting.close()
        if self._archive is not None:
            self._archive.close()
        discard(self._temporary)

    def _write(self, content: bytes) -> None:
        if self._archive is None:
            self._archive = zipfile.ZipFile(self._temporary, "w")
        # A fixed date: the same frames make the same bytes.
        self._archive.writestr(zipfile.ZipInfo(picture_name(self._count)), content)
        self._count += 1


def _png(picture: NDArray[np.uint8], text: str | None) -> bytes:
    note, content = PngImagePlugin.PngInfo(), io.BytesIO()
    if text is not None:
        note.add_itxt(PNG_KEY, text)
    Image.fromarray(picture).save(content, "PNG", pnginfo=note)
    return content.getvalue()
