"""One worker over time: its process, the job it has, and how long it may take for what."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ea_app.jobs.board import Board
from ea_app.jobs.channel import Message
from ea_app.jobs.folders import PREVIEW, THUMBNAIL, job_folder
from ea_app.jobs.process import WorkerProcess
from ea_app.jobs.settings import Settings
from ea_app.jobs.states import HARMLESS, STATE_OF_STAGE, Reason, State
from ea_app.jobs.task import Task
from ea_app.jobs.view import JobView

_LONGEST_PAUSE = 30.0
_TOO_MANY_STARTS = 3


@dataclass(frozen=True, kw_only=True)
class WorkerView:
    """What a worker does.

    Attributes:
        number: 0 and up.
        pid: Number of its process, None while there is none.
        ready: Whether it can take a job.
        job: Id of the job that it has, None if it has none.
    """

    number: int
    pid: int | None
    ready: bool
    job: str | None


class Slot:
    """The place of a worker. All calls come from the supervisor's thread.

    Args:
        number: Of the worker.
        folder: The state folder.
        settings: See `Settings`.
        board: The jobs.
        on_message: Where a process hands its messages to; they come back through `take`.
    """

    def __init__(
        self,
        number: int,
        folder: Path,
        settings: Settings,
        board: Board,
        on_message: Callable[[WorkerProcess, Message | None], None],
    ) -> None:
        self._number, self._folder, self._settings, self._board = number, folder, settings, board
        self._on_message = on_message
        self._device = settings.device_of(number)
        self._warm = settings.preload
        self._process: WorkerProcess | None = None
        self._job: str | None = None
        self._verdict: State | Reason | None = None
        self._heard = False
        self._kill_at: float | None = None
        self._late_at: float | None = None
        self._failed_starts = 0
        self._start_error = ""
        self._start_at = 0.0

    @property
    def free(self) -> bool:
        """Whether it can take a job now."""
        return self._process is not None and self._process.ready and self._job is None

    @property
    def view(self) -> WorkerView:
        """What it does."""
        process = self._process
        return WorkerView(
            number=self._number,
            pid=None if process is None else process.pid,
            ready=process is not None and process.ready,
            job=self._job,
        )

    def has(self, job_id: str) -> bool:
        """Whether it has that job."""
        return self._job == job_id

    def owns(self, process: WorkerProcess) -> bool:
        """Whether that is its process now."""
        return self._process is process

    def hopeless(self) -> str | None:
        """Why it cannot be started, after several tries; None while there is hope."""
        return self._start_error if self._failed_starts >= _TOO_MANY_STARTS else None

    def run(self, view: JobView) -> None:
        """Hand a job to the worker.

        Raises:
            NoSuchJobError: It was deleted.
        """
        assert self._process is not None
        self._board.change(
            view.id,
            state=State.LOADING,
            started=time.time(),
            attempts=view.attempts + 1,
            stage="load",
            step=0,
            total=1,
            remaining=None,
            error=None,
        )
        timeout = view.timeout if view.timeout is not None else self._settings.timeout
        self._late_at = None if timeout is None else time.monotonic() + timeout
        self._job, self._verdict, self._kill_at, self._heard = view.id, None, None, False
        task = Task(
            id=view.id,
            folder=str(job_folder(self._folder, view.id)),
            prompt=view.prompt,
            options=view.options,
            device=self._device,
            output=str(view.output),
            allow_pickle=view.allow_pickle,
            working_directory=view.working_directory,
            inputs=view.inputs,
            step_seconds=self._settings.step_seconds,
        )
        self._process.send({"do": "run", "task": asdict(task)})  # if it is gone, its end comes as a message
        plain = not {"lora", "transformer_weights", "motion_module"} & view.options.keys()
        self._warm = view.model if plain and not view.allow_pickle else self._settings.preload

    def cancel(self) -> None:
        """Stop the job, with its process when it does not stop by itself."""
        self._stop(State.CANCELLED, self._settings.grace)

    def tick(self, now: float) -> None:
        """Do what the clock says: start, end what takes too long, kill what does not stop."""
        if self._process is None and now >= self._start_at:
            self._start()
        if self._late_at is not None and now >= self._late_at:
            self._stop(Reason.TIMEOUT, self._settings.timeout_grace)
        if self._kill_at is not None and now >= self._kill_at and self._process is not None:
            self._kill_at = None
            self._process.kill()

    def due(self) -> float | None:
        """When `tick` has something to do, None if only a message can give it that."""
        start = self._start_at if self._process is None else None
        return min((at for at in (start, self._late_at, self._kill_at) if at is not None), default=None)

    def take(self, message: Message | None) -> None:
        """What the process said; None when it has ended."""
        if message is None:
            self._gone()
        elif message["is"] == "ready":
            assert self._process is not None
            self._process.ready = self._process.was_ready = True
            self._failed_starts = 0
            if self._warm is not None:
                self._process.send({"do": "load", "model": self._warm, "device": self._device})
        elif self._job is not None and message.get("id") == self._job:
            self._about_job(self._job, message)

    def close(self) -> str | None:
        """End the process; returns the job that it had."""
        process, self._process = self._process, None
        if process is not None:
            process.end()
        job, self._job = self._job, None
        return job

    def _start(self) -> None:
        try:
            self._process = self._new_process()
        except OSError as error:
            self._start_failed(f"a worker cannot be started: {error.strerror or error}")

    def _new_process(self) -> WorkerProcess:
        arguments = (self._number, self._folder, self._settings.memory_limit, self._on_message)
        if self._settings.ray is None:
            return WorkerProcess(*arguments)
        from ea_app.jobs.ray_process import RayProcess  # noqa: PLC0415  (only with --ray)

        return RayProcess(*arguments)

    def _start_failed(self, why: str) -> None:
        self._failed_starts += 1
        self._start_error = why
        self._start_at = time.monotonic() + min(2.0**self._failed_starts, _LONGEST_PAUSE)

    def _stop(self, verdict: State | Reason, grace: float) -> None:
        self._late_at = None
        if self._job is None or self._process is None or self._verdict is not None:
            return
        self._verdict = verdict
        self._kill_at = time.monotonic() + grace
        self._process.send({"do": "cancel", "id": self._job})

    def _about_job(self, job_id: str, message: Message) -> None:
        self._heard = True
        match message["is"]:
            case "progress":
                self._progress(job_id, message)
            case "notice":
                notices = self._board.get(job_id).notices
                if message["text"] not in notices:
                    self._board.change(job_id, notices=(*notices, message["text"]))
            case "done":
                done = {"timings": message["timings"], "record": message["record"]}
                thumbnail = job_folder(self._folder, job_id) / THUMBNAIL
                self._finish(job_id, state=State.DONE, thumbnail=thumbnail, **done)
            case "cancelled":
                self._stopped(job_id)
            case "failed":
                reason = Reason(message["reason"])
                if reason not in HARMLESS and self._process is not None:
                    self._process.ready = False  # it ends by itself now
                if reason in HARMLESS or self._verdict is None:
                    self._fail(job_id, reason, str(message["error"]), message.get("field"))
                else:
                    self._stopped(job_id)
            case _:
                return

    def _progress(self, job_id: str, message: Message) -> None:
        changes: dict[str, Any] = {name: message[name] for name in ("stage", "step", "total", "remaining")}
        if message["preview"]:
            changes["preview"] = job_folder(self._folder, job_id) / PREVIEW
        self._board.change(job_id, state=STATE_OF_STAGE[message["stage"]], **changes)

    def _gone(self) -> None:
        process, self._process, job = self._process, None, self._job
        assert process is not None
        self._start_at = 0.0
        if job is not None:
            if self._verdict is None and not self._heard and self._is_worth_another(job):
                self._finish(job, state=State.QUEUED)
            elif self._verdict is None:
                self._fail(job, Reason.CRASH, process.how_it_ended())
            else:
                self._stopped(job)
        elif not process.was_ready:
            self._start_failed(f"a worker cannot be started: {process.how_it_ended()}")
        elif process.ready:
            self._warm = None  # it may have ended of loading that, and would again

    def _is_worth_another(self, job_id: str) -> bool:
        """Whether a job that no worker has begun is to be handed to the next."""
        return self._board.get(job_id).attempts < self._settings.attempts

    def _stopped(self, job_id: str) -> None:
        """The end of a job that was asked to stop."""
        if self._verdict is Reason.TIMEOUT:
            view = self._board.get(job_id)
            limit = view.timeout if view.timeout is not None else self._settings.timeout
            self._fail(job_id, Reason.TIMEOUT, f"it took longer than {limit:g} s")
        else:
            self._finish(job_id, state=State.CANCELLED)

    def _fail(self, job_id: str, reason: Reason, error: str, field: str | None = None) -> None:
        self._finish(job_id, state=State.FAILED, reason=reason, error=error, error_field=field)

    def _finish(self, job_id: str, **changes: Any) -> None:
        self._job = self._verdict = self._kill_at = self._late_at = None
        ended = None if changes["state"] is State.QUEUED else time.time()
        self._board.change(job_id, ended=ended, remaining=None, **changes)
