"""What the page does, as plain functions over the jobs: no gradio here."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ea_app.api.job import DRAWN_SEED_BITS
from ea_app.api.record import check_record
from ea_app.jobs import JobsError, JobView, NoSuchJobError, State, Supervisor
from ea_app.options import InputError
from ea_app.ui import views
from ea_app.ui.examples import example
from ea_app.ui.forecast import Forecast
from ea_app.ui.form import FINER, options_of, values_of
from ea_app.ui.models import Shelf
from ea_app.ui.modes import unusable
from ea_app.ui.text import Language
from ea_app.ui.uploads import Uploads

HISTORY = 60
MAX_BATCH = 100
VARIES = ("seed", "sampler", "lora")
"""In what a pair may differ."""


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What stands on the page at one moment.

    Attributes:
        current: The job that is shown, empty for none.
        stage: The large picture.
        queue: What runs and waits.
        history: What was made.
        comparison: Two jobs side by side.
        can_cancel: Whether the shown job can be cancelled.
        can_resume: Whether it can go on.
        is_over: Whether it can be used again and deleted.
    """

    current: str
    stage: str
    queue: str
    history: str
    comparison: str
    can_cancel: bool
    can_resume: bool
    is_over: bool


class Studio:
    """The page's business.

    Args:
        jobs: Runs them.
        shelf: Which models and LoRAs may be chosen.
        uploads: Where uploaded files are.
        device: What jobs are computed on, as `ea_app.planning.find_machine` takes it.
    """

    def __init__(self, jobs: Supervisor, shelf: Shelf, uploads: Uploads, device: str = "auto") -> None:
        self.jobs = jobs
        self.shelf = shelf
        self.uploads = uploads
        self.forecast = Forecast(shelf, uploads, device)

    def submit(self, values: Mapping[str, Any]) -> JobView:
        """Queue what the controls ask for.

        Raises:
            InputError: Naming what is wrong.
            JobsError: The queue is full, or the disk.
        """
        prompt, options = options_of(values, self.shelf, self.uploads)
        return self.jobs.submit(prompt, **options)

    def submit_lines(self, text: object, values: Mapping[str, Any]) -> list[JobView]:
        """Queue a job for every line; nothing is queued when one is wrong.

        Raises:
            InputError: Naming what is wrong.
            JobsError: The queue is full, or the disk.
        """
        lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
        if not 1 <= len(lines) <= MAX_BATCH:
            raise InputError("prompts", f"must be from 1 to {MAX_BATCH} lines, got {len(lines)}")
        asked = [options_of({**values, "prompt": line}, self.shelf, self.uploads) for line in lines]
        return [self.jobs.submit(prompt, **options) for prompt, options in asked]

    def submit_pair(
        self, values: Mapping[str, Any], vary: object, sampler: object
    ) -> tuple[JobView, JobView]:
        """Queue a job and its twin that differs in one thing.

        Args:
            values: Of the controls.
            vary: "seed", "sampler" or "lora".
            sampler: The twin's, for "sampler".

        Raises:
            InputError: Naming what is wrong.
            JobsError: The queue is full, or the disk.
        """
        first = dict(values)
        if not first.get("seed"):
            first["seed"] = str(self.draw_seed())
        other = dict(first)
        if vary == "seed":
            other["seed"] = str(self.draw_seed())
        elif vary == "sampler":
            other["sampler"] = sampler
        elif vary == "lora":
            if not any(
                value for key, value in first.items() if key.startswith("lora_") and key[5:].isdigit()
            ):
                raise InputError("lora", "is not chosen; there would be no difference")
            other |= dict.fromkeys((key for key in other if key.startswith("lora_")), None)
        else:
            raise InputError("vary", f"must be one of {', '.join(VARIES)}, got {str(vary)[:40]!r}")
        asked = [options_of(side, self.shelf, self.uploads) for side in (first, other)]
        left, right = (self.jobs.submit(prompt, **options) for prompt, options in asked)
        return left, right

    def example(self, number: object, model: object, language: Language) -> tuple[str, str | None]:
        """The prompt of an example and the file of its picture, None for a model that takes no first frame.

        Raises:
            InputError: There is no such example or model.
        """
        info, abilities = self.shelf.describe(model)
        prompt, picture = example(number, language, info.native_width, info.native_height)
        takes = "image" not in unusable(abilities)
        return prompt, self.uploads.keep_drawing("image", picture) if takes else None

    def draw_seed(self) -> int:
        """A seed short enough to be typed again."""
        return secrets.randbits(DRAWN_SEED_BITS)

    def get(self, job_id: object) -> JobView | None:
        """A job, None when there is none."""
        try:
            return self.jobs.get(str(job_id))
        except NoSuchJobError:
            return None

    def screen(self, current: str, language: str, sides: Sequence[str | None] = ()) -> Screen:
        """What stands on the page now.

        Args:
            current: The job that is shown, empty for the newest.
            language: Of the words.
            sides: Two jobs that are compared.
        """
        unfinished = self.jobs.unfinished()
        recent = self.jobs.recent(HISTORY)
        shown = self.get(current) if current else None
        if shown is None and (candidates := [*unfinished, *(view for view in recent if view.over)]):
            shown = candidates[0]
        job_id = "" if shown is None else shown.id
        running = [view for view in unfinished if view.state is not State.INTERRUPTED]
        return Screen(
            current=job_id,
            stage=views.stage(shown, language),
            queue=views.queue(running, job_id, language),
            history=views.history(recent, job_id, language),
            comparison=views.comparison([self.get(side) if side else None for side in sides], language),
            can_cancel=shown is not None and not shown.over,
            can_resume=shown is not None
            and shown.state in (State.CANCELLED, State.FAILED, State.INTERRUPTED),
            is_over=shown is not None and shown.over,
        )

    def cancel(self, job_id: object) -> None:
        """Stop a job; one that is not there is stopped already."""
        if (view := self.get(job_id)) is not None:
            self.jobs.cancel(view.id)

    def reuse(self, job_id: object) -> tuple[dict[str, Any], list[str]]:
        """What the controls show for a job, and what of it is gone.

        Raises:
            InputError: There is no such job.
        """
        if (view := self.get(job_id)) is None:
            raise InputError("job", "is not there any more")
        return values_of(view.prompt, view.options, self.shelf, self.uploads)

    def restore(self, path: object) -> tuple[dict[str, Any], list[str]]:
        """What the controls show for a file that was made here or elsewhere, and what of it is gone.

        A record names files of the machine that made it. None of them is opened: inputs come back only when a
        job that is still known was given a file of the same hash.

        Raises:
            InputError: It is no uploaded file, or carries no record.
        """
        given, text = self.uploads.note("file", path)
        try:
            record = check_record(given, text)
        except InputError as error:
            raise InputError("file", error.reason.replace(str(given), "the file")) from None
        if (view := self._job_of(record)) is not None:
            return self.reuse(view.id)
        request = record["request"]
        options = {key: request[name] for key, name in _FROM_REQUEST.items() if request.get(name) is not None}
        for name, usual in FINER.items():
            if options.get(name) == usual:
                del options[name]
        options["size"] = (request["width"], request["height"])
        options["model"] = record["model"]["name"]
        known = {
            digest: name for view in self.jobs.recent(HISTORY) for name, digest in self._inputs(view).items()
        }
        missing = []
        for name, entry in record["inputs"].items():
            key = name.replace("-", "_")
            if entry and "text" in entry:
                options[key] = (
                    entry["text"] if key == "camera" else self.uploads.keep_text(key, entry["text"], ".json")
                )
            elif entry and entry.get("xxh3") in known:
                options[key] = known[entry["xxh3"]]
            else:
                missing.append(key)
        missing += ["lora"] if record.get("loras") else []
        missing += list(record.get("weights", {}))
        values, gone = values_of(request["prompt"], options, self.shelf, self.uploads)
        return values, [*missing, *gone]

    def delete(self, job_id: object) -> None:
        """Forget a job.

        Raises:
            JobsError: It runs.
        """
        if (view := self.get(job_id)) is not None:
            self.jobs.delete(view.id)

    def resume(self, job_id: object) -> None:
        """Let a job go on.

        Raises:
            JobsError: It cannot.
        """
        if (view := self.get(job_id)) is None:
            raise JobsError("the job is not there any more")
        self.jobs.resume(view.id)

    def clean(self, age: float) -> int:
        """Remove uploads that no job uses and are older than so many seconds; returns how many."""
        everything = self.jobs.recent(1 << 31)
        used = (path for view in everything for path in _paths(view.options.values()))
        return self.uploads.clean(used, age)

    def _job_of(self, record: Mapping[str, Any]) -> JobView | None:
        """The job that made a record, by the hash of its frames."""
        wanted = record["frames"]["xxh3"]
        return next((view for view in self.jobs.recent(HISTORY) if _frames(view) == wanted), None)

    def _inputs(self, view: JobView) -> dict[str, str]:
        """Paths of a job's inputs by name."""
        told = {name: str(view.options.get(name.replace("-", "_"), "")) for name in view.inputs}
        return {path: view.inputs[name] for name, path in told.items() if path}


_FROM_REQUEST = {
    "negative": "negative_prompt",
    "frames": "num_frames",
    "steps": "num_steps",
    "guidance": "guidance_scale",
    "seed": "seed",
    "sampler": "sampler",
    "strength": "strength",
    "window": "window_frames",
    "overlap": "overlap_frames",
    "join": "join",
    "fps": "fps",
    "timesteps": "timesteps",
    "teacache": "teacache_threshold",
    **{name: name for name in FINER},
}


def _frames(view: JobView) -> str | None:
    return None if view.record is None else view.record.get("frames", {}).get("xxh3")


def _paths(values: Sequence[Any] | Any) -> list[str]:
    return [value for value in values if isinstance(value, str) and value.startswith("/")]
