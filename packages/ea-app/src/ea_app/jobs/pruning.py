"""Which old jobs are forgotten, so that history stays within bounds."""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ea_app.jobs.folders import job_folder
from ea_app.jobs.view import JobView


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much is remembered. Only jobs that are over are forgotten, the oldest first.

    Attributes:
        jobs: How many that are over; None for any number.
        age: Seconds since they ended; None for any age.
        size: Bytes in the folders of all jobs; None for any size. Results in other places do not count.
    """

    jobs: int | None = 1000
    age: float | None = None
    size: int | None = 20_000_000_000

    def __post_init__(self) -> None:
        """Refuses bounds below 0."""
        for name in ("jobs", "age", "size"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be at least 0 or None, got {value}")


def to_forget(views: Iterable[JobView], folder: Path, bounds: Bounds, now: float) -> list[JobView]:
    """The jobs that are too many, too old or too large.

    Args:
        views: All jobs, the newest first.
        folder: The state folder.
        bounds: What may stay.
        now: Seconds since 1970.
    """
    forgotten: list[JobView] = []
    count = size = 0
    for view in views:
        count += view.over
        bytes_here = folder_size(job_folder(folder, view.id))
        size += bytes_here
        too_many = bounds.jobs is not None and count > bounds.jobs
        too_old = bounds.age is not None and view.ended is not None and now - view.ended > bounds.age
        too_large = bounds.size is not None and size > bounds.size
        if view.over and (too_many or too_old or too_large):
            forgotten.append(view)
            count -= 1
            size -= bytes_here
    return forgotten


def folder_size(folder: Path) -> int:
    """Bytes of the files in a folder; 0 where there is none."""
    total = 0
    for parent, _, names in os.walk(folder):  # leaves out folders that are removed while we look
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(parent, name).lstat().st_size
    return total


def remove_folder(folder: Path) -> None:
    """Remove a job's folder; renamed first, so that half of it is never taken for a job."""
    gone = folder.with_name(f".{folder.name}.removed")
    try:
        folder.rename(gone)
    except OSError:
        gone = folder
    shutil.rmtree(gone, ignore_errors=True)
