"""Sequences of pictures in a zip file: their names, and reading them back.

Only results are kept so; no reader of inputs takes them.
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from ea_data.media.errors import MediaError, media_errors
from ea_data.media.image import read_image
from ea_data.media.limits import Limits

__all__ = ["first_picture", "is_sequence", "picture_name", "read_sequence"]


def picture_name(number: int) -> str:
    """Name of a picture of a sequence."""
    return f"{number:05d}.png"


def is_sequence(path: Path) -> bool:
    """Whether a file is a zip file, by its content."""
    return path.is_file() and zipfile.is_zipfile(path)


@contextmanager
def first_picture(path: Path, limits: Limits) -> Iterator[Path]:
    """The first picture of a sequence as a file, for as long as the block runs.

    Raises:
        MediaError: There is none, or it is too large or damaged.
    """
    with _opened(path) as archive, TemporaryDirectory() as folder:
        yield _extracted(path, archive, 0, Path(folder), limits)


def read_sequence(path: str | Path, *, limits: Limits | None = None) -> NDArray[np.uint8]:
    """All pictures of a sequence (T, H, W, 3).

    Raises:
        MediaError: One is missing, too large, damaged or of another size; or there are too many.
    """
    path, limits = Path(path), limits or Limits()
    with _opened(path) as archive, TemporaryDirectory() as folder:
        count = len(archive.namelist())
        if not 1 <= count <= limits.max_frames:
            allowed = f"1 to {limits.max_frames}"
            raise MediaError(f"cannot read {path}: {count} pictures; allowed: {allowed}")
        pictures = []
        for number in range(count):
            picture = _extracted(path, archive, number, Path(folder), limits)
            pictures.append(read_image(picture, limits=limits))
            picture.unlink()
        return np.stack(pictures)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    with media_errors(path, "read"):
        try:
            with zipfile.ZipFile(path) as archive:
                yield archive
        except (zipfile.BadZipFile, zlib.error) as error:
            raise MediaError(f"cannot read {path}: {error}") from error


def _extracted(path: Path, archive: zipfile.ZipFile, number: int, folder: Path, limits: Limits) -> Path:
    """A picture as a file; its name is ours, not that of the archive."""
    name = picture_name(number)
    if name not in archive.namelist():
        raise MediaError(f"cannot read {path}: it holds no {name}")
    if archive.getinfo(name).file_size > limits.max_bytes:
        raise MediaError(f"cannot read {path}: {name} is too large; allowed: {limits.max_bytes} bytes")
    picture = folder / name
    picture.write_bytes(archive.read(name))
    return picture
