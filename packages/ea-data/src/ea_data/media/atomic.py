"""Files that appear complete or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ea_data.media.errors import MediaError, media_errors


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block succeeds, remove it otherwise.

    The temporary name keeps the suffix. What is written there may be a file or a folder.

    Raises:
        MediaError: The folder does not exist or cannot be written, `path` is a folder, or the disk is full.
    """
    temporary = temporary_name(path)
    with media_errors(path, "write"):
        try:
            yield temporary
            put_in_place(temporary, path)
        finally:
            discard(temporary)


def temporary_name(path: Path) -> Path:
    """A name beside `path`, with its suffix, that nothing has.

    Raises:
        MediaError: The folder does not exist.
    """
    folder = path.parent
    if not folder.is_dir():
        raise MediaError(f"cannot write {path}: the folder {folder} does not exist")
    begin = path.stem.encode()[:80].decode(errors="ignore")  # names have at most 255 bytes, not characters
    return folder / f".{begin}.{uuid.uuid4().hex[:12]}.part{path.suffix}"


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename what is finished.

    Raises:
        MediaError: A folder has that name.
        OSError: It cannot be renamed, or not be kept on the disk.
    """
    if path.is_dir():
        raise MediaError(f"cannot write {path}: a folder has that name")
    if temporary.is_file():
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
    temporary.replace(path)


def discard(temporary: Path) -> None:
    """Remove what was begun, if it is there."""
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a UTF-8 text file completely or not at all.

    Raises:
        MediaError: See `atomic_path`.
    """
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path
