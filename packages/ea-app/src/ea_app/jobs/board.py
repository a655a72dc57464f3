"""Jobs as they are this moment: what is on disk, and what changed since."""

import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Any

from ea_app.jobs.errors import JobsError, StoreError
from ea_app.jobs.states import State
from ea_app.jobs.store import JobStore
from ea_app.jobs.view import JobView

SAVE_SECONDS = 0.5
"""Least seconds between two writes of progress; changes of state are written at once."""


class Board:
    """Jobs in memory over a store, for many threads.

    A disk that is full stops no job: what cannot be written is kept, and written as soon as it can be.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._changed = threading.Condition(threading.RLock())
        self._live = {view.id: view for view in store.unfinished()}
        self._unsaved: set[str] = set()
        self._next_save = 0.0
        self._closed = False

    def add(self, view: JobView, *, limit: int, full: Callable[[], Exception]) -> JobView:
        """Queue a job.

        Args:
            view: The job.
            limit: How many may wait.
            full: Makes the error for one that is too many.

        Raises:
            StoreError: It cannot be written, and is not queued.
        """
        with self._changed:
            if sum(one.state is State.QUEUED for one in self._live.values()) >= limit:
                raise full()
            added = self._store.add(view)
            self._live[added.id] = added
            self._changed.notify_all()
            return self._placed(added)

    def get(self, job_id: str) -> JobView:
        """A job as it is now.

        Raises:
            NoSuchJobError: There is none.
        """
        with self._changed:
            view = self._live.get(job_id)
            return self._store.get(job_id) if view is None else self._placed(view)

    def recent(self, limit: int, offset: int) -> list[JobView]:
        """Jobs, the newest first."""
        with self._changed:
            found = self._store.recent(limit, offset)
            return [self._placed(self._live.get(view.id, view)) for view in found]

    def unfinished(self) -> list[JobView]:
        """Jobs that are queued, being run, or interrupted, in the order in which they are run."""
        with self._changed:
            views = [view for view in self._live.values() if not view.over]
            return [self._placed(view) for view in sorted(views, key=lambda view: view.number)]

    def change(self, job_id: str, **changes: Any) -> JobView:
        """Change a job, write it if its state changed, and tell those who wait."""
        with self._changed:
            before = self._live.get(job_id) or self._store.get(job_id)
            view = replace(before, **changes, version=before.version + 1)
            self._live[job_id] = view
            self._unsaved.add(job_id)
            if view.state is not before.state:
                self._next_save = 0.0
            self.flush()
            self._changed.notify_all()
            return self._placed(view)

    def change_if(self, job_id: str, allowed: Collection[State], **changes: Any) -> JobView:
        """As `change`, for a job in certain states.

        Raises:
            NoSuchJobError: There is none.
            JobsError: Its state is another.
        """
        with self._changed:
            self._check(job_id, allowed)
            return self.change(job_id, **changes)

    def flush(self, *, force: bool = False) -> None:
        """Write what is due."""
        with self._changed:
            if not self._unsaved or (time.monotonic() < self._next_save and not force):
                return
            self._next_save = time.monotonic() + SAVE_SECONDS
            try:
                self._store.save(self._live[job_id] for job_id in self._unsaved)
            except StoreError:  # later; until then it is known here
                return
            for job_id in self._unsaved:
                if self._live[job_id].over:
                    del self._live[job_id]
            self._unsaved.clear()

    def remove(self, job_id: str, allowed: Collection[State]) -> None:
        """Forget a job in certain states.

        Raises:
            NoSuchJobError: There is none.
            JobsError: Its state is another.
        """
        with self._changed:
            self._check(job_id, allowed)
            self._store.remove(job_id)
            self._live.pop(job_id, None)
            self._unsaved.discard(job_id)
            self._changed.notify_all()

    def follow(self, job_id: str, timeout: float | None) -> Iterator[JobView]:
        """A job now and at every change, until it is over or interrupted, the time is up, or jobs end.

        Changes that come faster than they are taken are taken together.
        """
        end = None if timeout is None else time.monotonic() + timeout
        view = self.get(job_id)
        yield view
        while not view.over and view.state is not State.INTERRUPTED:
            with self._changed:
                while (now := self.get(job_id)).version == view.version:
                    left = None if end is None else end - time.monotonic()
                    if self._closed or (left is not None and left <= 0):
                        return
                    self._changed.wait(left)
            view = now
            yield view

    def close(self) -> None:
        """Write all, and let those who wait go."""
        with self._changed:
            self.flush(force=True)
            self._closed = True
            self._changed.notify_all()

    def _check(self, job_id: str, allowed: Collection[State]) -> None:
        state = self.get(job_id).state
        if state not in allowed:
            raise JobsError(f"job {job_id} is {state}: this is for jobs that are {_either(allowed)}")

    def _placed(self, view: JobView) -> JobView:
        if view.state is not State.QUEUED:
            return view
        ahead = sum(
            other.state is State.QUEUED and other.number < view.number for other in self._live.values()
        )
        return replace(view, ahead=ahead)


def _either(states: Collection[State]) -> str:
    return " or ".join(sorted(states))
