"""Directories of models on their way to a new place: is there room, and how far is it."""

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Meter:
    """Adds up what was written."""

    def __init__(self, report: Callable[[int, int], None] | None, total: int) -> None:
        self._report, self._done, self._total = report, 0, total

    def __call__(self, count: int) -> None:
        """Counts more bytes."""
        self._done += count
        if self._report is not None:
            self._report(self._done, self._total)


@contextmanager
def naming_place(source: Path, destination: Path) -> Iterator[None]:
    """Names the source when it cannot be read, and else the destination, whose disk may be full after all."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ValueError(f"{destination}: no space left on its disk, nothing was kept") from None
        file = Path(str(error.filename or destination))
        if source in (file, *file.parents):
            raise ValueError(f"{file}: cannot be read ({error.strerror})") from None
        raise ValueError(f"{destination}: cannot be written ({error.strerror})") from None


def check_places(source: Path, destination: Path) -> None:
    """Refuses a source that is no directory, and a destination that is taken or inside of it."""
    if not source.is_dir():
        what = "is a file; give the directory that it is in" if source.exists() else "no such directory"
        raise ValueError(f"{source}: {what}")
    if destination.exists() or destination.is_symlink():
        raise ValueError(f"{destination} exists already; name a new directory")
    if source.resolve() in destination.resolve().parents:
        raise ValueError(f"{destination} is inside {source}; name a place outside")


def check_space(destination: Path, needed: int) -> None:
    """Refuses a destination whose disk has too little room."""
    parent = next(folder for folder in destination.resolve().parents if folder.exists())
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise ValueError(f"{destination} needs {needed / 1e9:.2f} GB, its disk has {free / 1e9:.2f} GB left")
