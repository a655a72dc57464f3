"""One picture, or a folder of numbered ones."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from ea_data.media.atomic import discard, put_in_place, temporary_name
from ea_data.media.errors import MediaError
from ea_data.media.metadata import PNG_KEY, TextSource, final_text

__all__ = ["PngSink"]


class PngSink:
    """The first frame makes a picture; a second one makes a folder named like it, without the suffix.

    Args:
        path: Output, .png.
        metadata: A text of every picture, see `TextSource`. If it is known in the end only, pictures are held
            until then.
    """

    def __init__(self, path: Path, metadata: TextSource) -> None:
        self._path, self._folder = path, path.with_suffix("")
        self._temporary, self._temporary_folder = temporary_name(path), temporary_name(self._folder)
        self._metadata = metadata
        self._held: list[NDArray[np.uint8]] = []
        self._count = 0

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Write a frame (H, W, 3).

        Raises:
            MediaError: A second frame, and the folder is there already.
        """
        if callable(self._metadata):
            self._held.append(picture.copy())
        else:
            self._write(picture)

    def finish(self) -> Path:
        """Write what is left, rename the picture or the folder."""
        self._metadata = final_text(self._metadata)
        for picture in self._held:
            self._write(picture)
        if self._count == 1:
            put_in_place(self._temporary, self._path)
            return self._path
        put_in_place(self._temporary_folder, self._folder)
        return self._folder

    def abandon(self) -> None:
        """Remove what was begun."""
        discard(self._temporary)
        discard(self._temporary_folder)

    def _write(self, picture: NDArray[np.uint8]) -> None:
        if self._count == 0:
            self._save(picture, self._temporary)
        else:
            if self._count == 1:
                self._make_folder()
            self._save(picture, self._temporary_folder / f"{self._count:05d}.png")
        self._count += 1

    def _make_folder(self) -> None:
        if self._folder.exists():
            raise MediaError(
                f"cannot write {self._folder}: it exists; a sequence of frames makes a new folder"
            )
        self._temporary_folder.mkdir()
        self._temporary.replace(self._temporary_folder / f"{0:05d}.png")

    def _save(self, picture: NDArray[np.uint8], path: Path) -> None:
        note = PngImagePlugin.PngInfo()
        if isinstance(self._metadata, str):
            note.add_itxt(PNG_KEY, self._metadata)
        Image.fromarray(picture).save(path, "PNG", pnginfo=note)
        with Image.open(path, formats=["PNG"]) as written:
            written.verify()  # the checksums of all chunks
