"""The one that runs jobs: queue, workers, history. What a server or an interface holds."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from ea_app.jobs.board import Board
from ea_app.jobs.channel import Message
from ea_app.jobs.errors import JobsError, NoSuchJobError, QueueFullError
from ea_app.jobs.folders import default_state_folder, job_folder
from ea_app.jobs.process import WorkerProcess
from ea_app.jobs.pruning import remove_folder, to_forget
from ea_app.jobs.settings import Settings
from ea_app.jobs.slot import Slot, WorkerView
from ea_app.jobs.states import ACTIVE, ENDED, RESUMABLE, Reason, State
from ea_app.jobs.store import JobStore, interrupted
from ea_app.jobs.submission import Submission, make_view
from ea_app.jobs.view import JobView

_ALL = 1 << 31
_TICK_SECONDS = 1.0
_PRUNE_SECONDS = 60.0
_END_SECONDS = 30.0


class Supervisor:
    """Runs jobs one after the other on worker processes, and remembers them.

    Every method may be called from any thread. Close it, or use it in a `with` statement; if its process is
    killed instead, workers end too, and jobs go on when a supervisor starts in the same folder.

    Args:
        folder: The state folder; None for the platform's place.
        settings: How jobs are run.

    Raises:
        OwnedError: Another process runs the jobs of the folder.
        StoreError: The folder cannot be used.
    """

    def __init__(self, folder: str | Path | None = None, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        if self._settings.ray is not None:
            from ea_app.jobs.ray_process import connect  # noqa: PLC0415  (only with --ray)

            connect(self._settings.ray)
        self._store = JobStore(folder or default_state_folder())
        self.folder = self._store.folder
        self._board = Board(self._store)
        self._inbox: queue.SimpleQueue[tuple[WorkerProcess, Message | None] | str | None] = (
            queue.SimpleQueue()
        )
        self._closing = False
        self._broken: BaseException | None = None
        self._slots = [
            Slot(number, self.folder, self._settings, self._board, self._hear)
            for number in range(self._settings.workers)
        ]
        if self._settings.resume:
            self._queue_interrupted()
        self._prune_at = 0.0
        # Workers end with the thread that started them, so all are started by this one.
        self._thread = threading.Thread(target=self._work, name="supervisor", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(
        self, prompt: str, *, timeout: float | None = None, allow_pickle: bool = False, **options: Any
    ) -> JobView:
        """Queue a job.

        Args:
            prompt: What to show.
            timeout: Seconds that it may take once it runs; None for what the settings say.
            allow_pickle: Whether weights may be read from pickles.
            **options: By key, see `ea_app.options.OPTIONS`; None means not given. Without `output` the result
                is in the state folder, and is forgotten with the job.

        Raises:
            InputError: A mistake, before anything is queued.
            QueueFullError: As many jobs wait as may.
            StoreError: The disk is full.
        """
        self._check()
        given = Submission(prompt=prompt, options=options, timeout=timeout, allow_pickle=allow_pickle)
        view = make_view(given, self.folder)
        limit = self._settings.queue_limit
        try:
            added = self._board.add(
                view, limit=limit, full=lambda: QueueFullError(f"{limit} jobs wait already; try again later")
            )
        except JobsError:
            remove_folder(job_folder(self.folder, view.id))
            raise
        self._inbox.put(None)
        return added

    def get(self, job_id: str) -> JobView:
        """A job as it is now.

        Raises:
            NoSuchJobError: There is none.
        """
        return self._board.get(job_id)

    def recent(self, limit: int = 100, offset: int = 0) -> list[JobView]:
        """Jobs of any state, the newest first."""
        return self._board.recent(limit, offset)

    def unfinished(self) -> list[JobView]:
        """Jobs that are queued, being run, or interrupted, in the order in which they are run."""
        return self._board.unfinished()

    def workers(self) -> list[WorkerView]:
        """What every worker does."""
        return [slot.view for slot in self._slots]

    def follow(self, job_id: str, timeout: float | None = None) -> Iterator[JobView]:
        """A job now and at every change, until it is over or interrupted.

        Args:
            job_id: Which.
            timeout: Seconds after which to end in any case; None waits for ever.

        Raises:
            NoSuchJobError: There is none, or it was deleted.
        """
        return self._board.follow(job_id, timeout)

    def wait(self, job_id: str, timeout: float | None = None) -> JobView:
        """Wait until a job is over or interrupted, or the time is up; returns it as it is then."""
        for _ in self._board.follow(job_id, timeout):
            pass
        return self.get(job_id)

    def cancel(self, job_id: str) -> JobView:
        """Cancel a job; one that is over stays as it is.

        A job that runs stops before the next layer of its network. If that takes longer than
        `Settings.grace`, its worker is killed. It is "cancelled" when it has stopped; `wait` waits for that.

        Raises:
            NoSuchJobError: There is none.
        """
        view = self.get(job_id)
        if view.state in (State.QUEUED, State.INTERRUPTED) or view.active:
            self._inbox.put(job_id)
        return view

    def resume(self, job_id: str) -> JobView:
        """Queue a job again that was interrupted, cancelled or failed; it goes on where it was.

        Raises:
            NoSuchJobError: There is none.
            JobsError: Its state is another.
        """
        self._check()
        view = self._board.change_if(job_id, RESUMABLE, **_QUEUED_AGAIN, attempts=0)
        self._inbox.put(None)
        return view

    def delete(self, job_id: str) -> None:
        """Forget a job, with its folder; results in other places stay.

        Raises:
            NoSuchJobError: There is none.
            JobsError: It runs; cancel it first.
        """
        self._board.remove(job_id, frozenset(State) - ACTIVE)
        remove_folder(job_folder(self.folder, job_id))

    def prune(self) -> int:
        """Forget what is beyond `Settings.bounds`; returns how many. It is done every minute."""
        views = self._board.recent(_ALL, 0)
        forgotten = to_forget(views, self.folder, self._settings.bounds, time.time())
        for view in forgotten:
            with contextlib.suppress(JobsError):  # resumed or deleted meanwhile
                self._board.remove(view.id, ENDED)
                remove_folder(job_folder(self.folder, view.id))
        return len(forgotten)

    def close(self) -> None:
        """End the workers. Jobs that run are interrupted; they go on when a supervisor starts again."""
        if self._closing and not self._thread.is_alive():
            return
        self._closing = True
        self._inbox.put(None)
        self._thread.join(_END_SECONDS)
        self._store.close()

    def _check(self) -> None:
        if self._broken is not None:
            raise JobsError(f"jobs are no longer run: {self._broken}") from self._broken
        if self._closing:
            raise JobsError("jobs are no longer run: the supervisor is closed")

    def _queue_interrupted(self) -> None:
        for view in self._board.unfinished():
            if view.state is State.INTERRUPTED and view.attempts < self._settings.attempts:
                self._board.change(view.id, **_QUEUED_AGAIN)

    def _hear(self, process: WorkerProcess, message: Message | None) -> None:
        self._inbox.put((process, message))

    def _work(self) -> None:
        try:
            while not self._closing:
                self._assign()
                self._handle()
        except BaseException as error:  # whoever calls next is told
            self._broken = error
            raise
        finally:
            for slot in self._slots:
                if (job := slot.close()) is not None:
                    view = interrupted(self._board.get(job))
                    self._board.change(job, state=view.state, error=view.error, remaining=None)
            self._board.close()

    def _handle(self) -> None:
        """Wait for something to do, and do it."""
        now = time.monotonic()
        due = min((at for slot in self._slots if (at := slot.due()) is not None), default=now + _TICK_SECONDS)
        try:
            item = self._inbox.get(timeout=min(max(due - now, 0.0), _TICK_SECONDS))
        except queue.Empty:
            item = None
        if isinstance(item, str):
            self._cancel(item)
        elif item is not None:
            process, message = item
            for slot in self._slots:
                if slot.owns(process):
                    slot.take(message)
        for slot in self._slots:
            slot.tick(time.monotonic())
        self._board.flush()
        if now >= self._prune_at:
            self._prune_at = now + _PRUNE_SECONDS
            self.prune()

    def _assign(self) -> None:
        """Give queued jobs to free workers, in order."""
        queued = [view for view in self._board.unfinished() if view.state is State.QUEUED]
        for slot in self._slots:
            if queued and slot.free:
                with contextlib.suppress(NoSuchJobError):  # deleted meanwhile
                    slot.run(queued.pop(0))
        why = [slot.hopeless() for slot in self._slots]
        if queued and all(why):
            with contextlib.suppress(NoSuchJobError):
                self._board.change(
                    queued[0].id, state=State.FAILED, reason=Reason.CRASH, error=why[0], ended=time.time()
                )

    def _cancel(self, job_id: str) -> None:
        for slot in self._slots:
            if slot.has(job_id):
                slot.cancel()
                return
        with contextlib.suppress(JobsError):  # over or deleted meanwhile
            waiting = (State.QUEUED, State.INTERRUPTED)
            self._board.change_if(job_id, waiting, state=State.CANCELLED, ended=time.time())


_QUEUED_AGAIN: dict[str, Any] = {
    "state": State.QUEUED,
    "error": None,
    "error_field": None,
    "reason": None,
    "ended": None,
    "remaining": None,
}
