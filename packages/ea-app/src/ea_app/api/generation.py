"""One job on a loaded model: what it needs before, what happens while it runs, and its record."""

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ea_app.api.check import check_kind, to_request
from ea_app.api.checkpoint import Checkpoint, Resume, job_key
from ea_app.api.conditions import input_names
from ea_app.api.enhance import enhance
from ea_app.api.fields import concerning_fields
from ea_app.api.inputs import Source, Text
from ea_app.api.interruption import stopping
from ea_app.api.job import CancelToken, Job
from ea_app.api.output import check_output
from ea_app.api.preview import LatentRgb, Previewer
from ea_app.api.progress import EventCallback, ProgressCallback, ProgressMeter
from ea_app.api.result import Result, frames_entry
from ea_app.api.result_file import ResultFile
from ea_app.catalog import Model
from ea_dit.pipelines import Cancelled, GenerationPipeline, GenerationRequest
from ea_dit.pipelines.run import Run
from ea_dit.pipelines.states import WindowState


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job that is ready to run.

    Attributes:
        request: As the pipeline takes it; checked.
        inputs: Where what is given came from, by name; None for tensors.
        enhancement: What a language model made of the prompt.
        path: The file to write, None for none.
        as_options: Whether mistakes name options, not fields.
    """

    request: GenerationRequest
    inputs: Mapping[str, Source | Text | None]
    enhancement: Mapping[str, Any] | None
    path: Path | None
    as_options: bool


def prepare(job: Job | GenerationRequest, model: Model, output: str | Path | None) -> Prepared:
    """Do what a job still asks for, and check it and its output.

    Raises:
        InputError: A mistake in the job or the output.
    """
    check_kind(job)
    if isinstance(job, Job):
        job = enhance(job, model).extracted()
        request, sources, files, enhancement = to_request(job), job.sources, job.files, job.enhancement
    else:
        request, sources, files, enhancement = job, {}, (), None
    as_options = isinstance(job, Job)
    with concerning_fields(as_options=as_options):
        request.validate()
    return Prepared(
        request=request,
        inputs=dict.fromkeys(input_names(request.conditions)) | dict(sources),
        enhancement=enhancement,
        path=None if output is None else check_output(output, request.num_frames, files),
        as_options=as_options,
    )


class Generation:
    """Runs one prepared job.

    Args:
        prepared: The job.
        on_progress: See `ProgressCallback`.
        on_event: See `ea_app.api.progress.Progress`.
        cancel: Stops it, also inside a step.
    """

    def __init__(
        self,
        prepared: Prepared,
        on_progress: ProgressCallback | None,
        on_event: EventCallback | None,
        cancel: CancelToken,
    ) -> None:
        self._job = prepared
        self._on_progress = on_progress
        self._meter = None if on_event is None else ProgressMeter(on_event)
        self._cancel = cancel
        self._preview: bytes | None = None
        self._skipped: Mapping[int, tuple[int, ...]] = {}

    def run(
        self,
        pipeline: GenerationPipeline,
        record_of: Callable[[Prepared], dict[str, Any]],
        latent_rgb: LatentRgb,
        resume: Resume | None,
    ) -> Result:
        """Generate, and write what was asked for.

        Args:
            pipeline: The loaded parts.
            record_of: Makes the record, as far as it is known before.
            latent_rgb: For previews; empty for none.
            resume: Where to keep what is needed to go on; None keeps nothing.

        Raises:
            InputError: What the model refuses, or a file that cannot be written.
            Cancelled: It was cancelled.
        """
        job, record = self._job, record_of(self._job)
        kept = None if resume is None else Checkpoint(resume, job_key(job.request, record), record)
        previewer = Previewer(latent_rgb) if self._meter is not None and latent_rgb else None
        run = Run(
            on_progress=self._report,
            on_state=self._on_state(kept, previewer),
            resume=() if kept is None else kept.states(),
            should_stop=lambda: self._cancel.cancelled,
        )
        self._skipped = run.skipped
        with ResultFile(job.path, record) as file, closing(self._decoded(pipeline, run)) as decoded:
            frames = file.collect(decoded)
            if self._cancel.cancelled:
                raise Cancelled("stopped before stage 'save'")
            record["timings"] = {name: round(seconds, 3) for name, seconds in run.timings.items()}
            record["frames"] = frames_entry(frames, run)
            if run.skipped:
                skipped = [list(run.skipped[window]) for window in sorted(run.skipped)]
                record["teacache"] = {"skipped": skipped}
            record["created"] = datetime.now(UTC).isoformat(timespec="seconds")
            if job.path is not None:
                self._save(file)
        return Result(
            frames=frames,
            path=job.path,
            request=job.request,
            timings=run.timings,
            record=record,
            notices=(*(() if kept is None else kept.notices), *_skip_notices(run)),
        )

    def _decoded(self, pipeline: GenerationPipeline, run: Run) -> Generator[Tensor, None, None]:
        """Frames as soon as they are decoded; mistakes are named here, so those of the file are not."""
        with (
            concerning_fields(as_options=self._job.as_options),
            stopping(lambda: self._cancel.cancelled),
            torch.backends.cudnn.flags(enabled=True, deterministic=True),
            closing(pipeline.stream(self._job.request, run=run)) as chunks,
        ):
            for chunk in chunks:
                yield chunk.frames

    def _save(self, file: ResultFile) -> None:
        if self._meter is not None:
            self._meter.report("save", 0, 1)
        file.finish()
        if self._meter is not None:
            self._meter.report("save", 1, 1)

    def _report(self, stage: str, step: int, total: int) -> None:
        if self._on_progress is not None:
            self._on_progress(stage, step, total)
        if self._meter is not None:
            skipped = sum(map(len, self._skipped.values()))
            self._meter.report(stage, step, total, self._preview, skipped=skipped)
            self._preview = None

    def _on_state(
        self, kept: Checkpoint | None, previewer: Previewer | None
    ) -> Callable[[WindowState], None] | None:
        """Keeps what it is time for; a picture goes out with the next event."""
        if kept is None and previewer is None:
            return None

        def on_state(state: WindowState) -> None:
            if kept is not None:
                kept.save(state)
            if previewer is not None:
                clean = state.loop.clean
                self._preview = previewer.picture(state.loop.latents if clean is None else clean)

        return on_state


def _skip_notices(run: Run) -> tuple[str, ...]:
    if not run.skipped:
        return ()
    count = sum(map(len, run.skipped.values()))
    return (f"teacache: the blocks of {count} of {run.calls} steps were left out, an approximation",)
