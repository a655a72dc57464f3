"""Running jobs on a model that stays loaded; inside a worker."""

import errno
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ea_app.api.checkpoint import RESUME_DIR, Resume, clear
from ea_app.api.engine import Engine
from ea_app.api.enhance import enhance
from ea_app.api.inputs import Source
from ea_app.api.job import CancelToken, Job, find_model, make_job
from ea_app.api.loras import find_loras
from ea_app.api.machine import machine_options
from ea_app.api.preview import to_jpeg
from ea_app.api.progress import Progress
from ea_app.api.result import Result
from ea_app.api.weights import find_weights, paths_of
from ea_app.catalog import Model
from ea_app.jobs.channel import Message
from ea_app.jobs.folders import ENHANCEMENT, PREVIEW, THUMBNAIL
from ea_app.jobs.states import Reason
from ea_app.jobs.task import Task
from ea_app.options import InputError

_NOT_ENOUGH = ("can't allocate memory", "out of memory", "cannot allocate memory", "not enough memory")


class Runner:
    """Keeps an engine and runs tasks on it.

    Args:
        send: Tells the supervisor.
    """

    def __init__(self, send: Callable[[Message], object]) -> None:
        self._send = send
        self._engine: Engine | None = None
        self._loaded: object = None

    def load(self, model: str, device: str) -> None:
        """Load a model before there is a job."""
        self._load(find_model(model), {}, device)

    def run(self, task: Task, cancel: CancelToken) -> Message:
        """Run a task; returns the last message about it.

        Raises:
            Cancelled: It was cancelled.
            Exception: Whatever went wrong, see `failure`.
        """
        start = time.perf_counter()
        folder = Path(task.folder)
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(task.working_directory)
        report = self._reporter(task, folder)
        report(Progress(stage="load", step=0, total=1, elapsed=0.0))
        model = find_model(
            str(task.options.get("model", "default")),
            motion_module=task.options.get("motion_module"),
            allow_pickle=task.allow_pickle,
        )
        job = _with_prompt(_job(model, task), model, folder)
        engine = self._load(model, task.options, task.device, job)
        loaded = time.perf_counter() - start
        report(Progress(stage="load", step=1, total=1, elapsed=loaded))
        for note in (*job.notices, *engine.notes):
            self._send({"is": "notice", "id": task.id, "text": note})
        result = _generate(engine, job, task, report, cancel)
        for note in result.notices:
            self._send({"is": "notice", "id": task.id, "text": note})
        _write_thumbnail(folder / THUMBNAIL, result)
        timings = {"load": round(loaded, 3), **result.record["timings"]}
        timings["job"] = round(time.perf_counter() - start, 3)
        return {"is": "done", "id": task.id, "timings": timings, "record": dict(result.record)}

    def forget(self) -> None:
        """Drop the engine."""
        self._engine, self._loaded = None, None

    def _load(self, model: Model, options: Mapping[str, Any], device: str, job: Job | None = None) -> Engine:
        """The engine for a task: the one that is there, if it is what the task needs."""
        weights = find_weights(options)
        unmatched = str(options.get("lora_unmatched", "refuse"))
        loras = find_loras(options.get("lora", ()), unmatched=unmatched)
        machine = machine_options({"device": device, **options})
        wanted = (model.directory, model.fingerprint(), machine, weights, loras)
        if self._engine is not None and wanted == self._loaded:
            return self._engine
        if job is not None:
            Engine.check(job, model, **paths_of(weights), loras=loras)
        self.forget()  # the old one makes room first
        self._engine = Engine.load(model, **machine, **paths_of(weights), loras=loras)
        self._loaded = wanted
        return self._engine

    def _reporter(self, task: Task, folder: Path) -> Callable[[Progress], None]:
        def report(event: Progress) -> None:
            if event.preview is not None:
                _replace(folder / PREVIEW, event.preview)
            self._send(
                {
                    "is": "progress",
                    "id": task.id,
                    "stage": event.stage,
                    "step": event.step,
                    "total": event.total,
                    "remaining": event.remaining,
                    "preview": event.preview is not None,
                }
            )

        return report


def failure(error: Exception) -> tuple[Reason, str, str | None]:
    """Kind, line and option of what went wrong."""
    text = " ".join(str(error).split())
    if isinstance(error, InputError):
        full = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOSPC
        return (Reason.FILES if full else Reason.MISTAKE), text, error.field
    if isinstance(error, MemoryError) or any(word in text.lower() for word in _NOT_ENOUGH):
        return Reason.MEMORY, "there was not enough memory; try a smaller size or fewer frames", None
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return Reason.FILES, f"{place}{error.strerror or text}", None
    return Reason.DEFECT, f"unexpected {type(error).__name__}: {text}", None


def _job(model: Model, task: Task) -> Job:
    """The job, whose files have to be what they were."""
    job = make_job(model, prompt=task.prompt, **task.options)
    for name, source in job.sources.items():
        if isinstance(source, Source) and task.inputs.get(name, source.xxh3) != source.xxh3:
            raise InputError(name.split()[0], f"{source.path} has changed since the job was queued")
    return job


def _with_prompt(job: Job, model: Model, folder: Path) -> Job:
    """The job with its prompt rewritten, once: what a server says is not the same twice."""
    if job.prompt_server is None:
        return job
    kept = folder / ENHANCEMENT
    if kept.is_file():
        enhancement = json.loads(kept.read_text(encoding="utf-8"))
        text = enhancement.get("enhanced") or job.fields["prompt"]
        fields = {**job.fields, "prompt": text}
        return replace(job, fields=fields, prompt_server=None, enhancement=enhancement)
    job = enhance(job, model)
    assert job.enhancement is not None
    _replace(kept, json.dumps(dict(job.enhancement)).encode())
    return job


def _generate(
    engine: Engine, job: Job, task: Task, report: Callable[[Progress], None], cancel: CancelToken
) -> Result:
    """Go on where the job was; from the beginning if what is kept is of an older model."""
    for again in (False, True):
        try:
            return engine.generate(
                job,
                output=task.output,
                on_event=report,
                cancel=cancel,
                resume=Resume(folder=task.folder, seconds=task.step_seconds),
            )
        except InputError as error:
            if again or error.field != RESUME_DIR or "another job" not in error.reason:
                raise
            clear(Path(task.folder))
    raise AssertionError


def _write_thumbnail(path: Path, result: Result) -> None:
    """A small picture of the middle frame."""
    _replace(path, to_jpeg(result.frames[len(result.frames) // 2]))


def _replace(path: Path, content: bytes) -> None:
    """Write a small file whole or not at all."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(content)
    temporary.replace(path)
