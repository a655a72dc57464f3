"""Files of a run at the places where a manifest names them."""

import os
import shutil
from pathlib import Path

from ea_data.media.atomic import atomic_path
from ea_data.store import digest_file

__all__ = ["place", "remove_others"]


def place(source: Path, digest: str, target: Path, *, work: Path) -> None:
    """Have a file at a place: one of the run under another name, one of the user as a copy.

    Args:
        source: The file.
        digest: Of its bytes.
        target: Where it goes; its folder is made.
        work: Folder of the files of the run.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    ours = source.is_relative_to(work)
    if target.is_file() and (_same(source, target) if ours else digest_file(target) == digest):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        if not (ours and _linked(source, temporary)):
            shutil.copyfile(source, temporary)


def _same(source: Path, target: Path) -> bool:
    ours, theirs = source.stat(), target.stat()
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)


def _linked(source: Path, target: Path) -> bool:
    """Where the file system cannot do that, a copy is as good."""
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def remove_others(folder: Path, wanted: set[Path]) -> None:
    """Files that an earlier run placed, and folders that are empty then."""
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*"), key=lambda path: -len(path.parts)):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in wanted:
            path.unlink()
