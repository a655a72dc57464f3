"""Jobs on disk: written by the process that runs them, read by any."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from ea_app.jobs.database import connect, insert, naming, select, update
from ea_app.jobs.errors import NoSuchJobError
from ea_app.jobs.folders import DATABASE, is_job_id
from ea_app.jobs.owner import Owner, has_owner
from ea_app.jobs.states import ACTIVE, State
from ea_app.jobs.view import JobView

GONE = "what ran it is gone"

_NEWEST = "ORDER BY number DESC LIMIT ? OFFSET ?"


class JobStore:
    """The file of the jobs, opened by the one process that writes.

    Jobs that were being run by a process that is gone are "interrupted" from here on.

    Args:
        folder: The state folder.

    Raises:
        OwnedError: Another process writes there.
        StoreError: The folder or the file cannot be used.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self._owner = Owner(self.folder)
        self._lock = threading.RLock()
        try:
            self._connection = connect(self.folder, write=True)
        except BaseException:
            self._owner.release()
            raise
        try:
            self.save(interrupted(view) for view in self.unfinished() if view.active)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process write."""
        with self._lock:
            self._connection.close()
            self._owner.release()

    def add(self, view: JobView) -> JobView:
        """Add a job; returns it with its number."""
        with self._lock, naming(self.folder / DATABASE):
            return replace(view, number=insert(self._connection, view))

    def save(self, views: Iterable[JobView]) -> None:
        """Write jobs as they are now, all or none."""
        with self._lock, naming(self.folder / DATABASE):
            if kept := list(views):
                update(self._connection, kept)

    def get(self, job_id: str) -> JobView:
        """A job by its id.

        Raises:
            NoSuchJobError: There is none.
        """
        with self._lock, naming(self.folder / DATABASE):
            return _one(select(self._connection, "WHERE id = ?", (job_id,)), job_id)

    def recent(self, limit: int = 100, offset: int = 0) -> list[JobView]:
        """Jobs, the newest first."""
        with self._lock, naming(self.folder / DATABASE):
            return select(self._connection, _NEWEST, (limit, offset))

    def unfinished(self) -> Sequence[JobView]:
        """Jobs that are queued, being run, or interrupted, in the order in which they are run."""
        wanted = [State.QUEUED, State.INTERRUPTED, *ACTIVE]
        marks = ",".join("?" * len(wanted))
        with self._lock, naming(self.folder / DATABASE):
            return select(self._connection, f"WHERE state IN ({marks}) ORDER BY number", map(str, wanted))

    def remove(self, job_id: str) -> None:
        """Forget a job; its files are the caller's business."""
        with self._lock, naming(self.folder / DATABASE):
            self._connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))


class JobReader:
    """The file of the jobs, for reading, from any process.

    Args:
        folder: The state folder.

    Raises:
        StoreError: There are no jobs, or the file cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self._connection = connect(self.folder, write=False)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def get(self, job_id: str) -> JobView:
        """A job by its id.

        Raises:
            NoSuchJobError: There is none.
        """
        with self._lock, naming(self.folder / DATABASE):
            found = select(self._connection, "WHERE id = ?", (job_id,))
        return self._true([_one(found, job_id)])[0]

    def recent(self, limit: int = 100, offset: int = 0) -> list[JobView]:
        """Jobs, the newest first."""
        with self._lock, naming(self.folder / DATABASE):
            found = select(self._connection, _NEWEST, (limit, offset))
        return self._true(found)

    def _true(self, views: list[JobView]) -> list[JobView]:
        """What is said to run runs only if there is a process that runs jobs."""
        if any(view.active for view in views) and not has_owner(self.folder):
            return [interrupted(view) if view.active else view for view in views]
        return views


def interrupted(view: JobView) -> JobView:
    """A job whose worker is gone."""
    where = f" at {view.stage} {view.step}/{view.total}" if view.stage else ""
    return replace(
        view,
        state=State.INTERRUPTED,
        remaining=None,
        error=f"{GONE}; the job was{where or ' loading'}",
        version=view.version + 1,
    )


def _one(found: Sequence[JobView], job_id: str) -> JobView:
    if not found:
        shown = job_id if is_job_id(job_id) else "that id"
        raise NoSuchJobError(f"there is no job {shown}")
    return found[0]
