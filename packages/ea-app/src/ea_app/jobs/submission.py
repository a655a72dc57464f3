"""From options to a job that can be queued: what is wrong with it is said now, not when its turn comes."""

import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ea_app.api.inputs import Source
from ea_app.api.job import find_model, make_job
from ea_app.api.loras import find_loras
from ea_app.api.output import check_output, suffix_of
from ea_app.api.weights import find_weights, paths_of
from ea_app.jobs.folders import job_folder
from ea_app.jobs.view import JobView
from ea_app.options import InputError, parse

_ID_BYTES = 12


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What is asked for.

    Attributes:
        prompt: What to show.
        options: By key, see `ea_app.options.OPTIONS`; None means not given.
        timeout: Seconds that it may take once it runs; None for any time.
        allow_pickle: Whether weights may be read from pickles.
    """

    prompt: str
    options: Mapping[str, Any]
    timeout: float | None = None
    allow_pickle: bool = False


def make_view(given: Submission, folder: Path) -> JobView:
    """Check a submission and make a job of it.

    Files are opened, so that what is wrong with them is known; the model is not, but for its config. Models
    that would have to be downloaded are refused: fetch them first.

    Args:
        given: What is asked for.
        folder: The state folder.

    Raises:
        InputError: The first mistake found.
    """
    if given.timeout is not None and not given.timeout > 0:
        raise InputError("timeout", f"must be above 0 seconds, got {given.timeout}")
    options = parse({"prompt": given.prompt, **given.options})
    prompt = options.pop("prompt")
    if "lora_unmatched" in options and "lora" not in options:
        raise InputError("lora-unmatched", "needs --lora")
    weights = paths_of(find_weights(options))
    find_loras(options.get("lora", ()), unmatched=options.get("lora_unmatched", "refuse"))
    model = find_model(
        options.get("model", "default"),
        download=False,
        motion_module=weights.get("motion_module"),
        allow_pickle=given.allow_pickle,
    )
    job = make_job(model, prompt=prompt, **options)
    options["seed"] = job.fields["seed"]
    job_id = secrets.token_hex(_ID_BYTES)
    place = job_folder(folder, job_id)
    output = options.pop("output", None)
    if output is None:
        place.mkdir(parents=True, exist_ok=True)
        output = place / f"{job_id}{suffix_of(job.frames, options.get('format'))}"
    try:
        path = check_output(output, job.frames, job.files).absolute()
    except InputError:
        if place.exists():
            place.rmdir()
        raise
    return JobView(
        id=job_id,
        prompt=prompt,
        options=_plain(options),
        model=model.name,
        seed=job.fields["seed"],
        timeout=given.timeout,
        allow_pickle=given.allow_pickle,
        working_directory=str(Path.cwd()),
        inputs={name: source.xxh3 for name, source in job.sources.items() if isinstance(source, Source)},
        created=time.time(),
        notices=job.notices,
        output=path,
    )


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Parsed options as JSON has them, so that parsing them again gives the same."""
    return {key: _plain_value(value) for key, value in options.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):  # keyframes: numbers of frames are keys, -1 is the last
        return {"last" if at == -1 else str(at): os.fspath(path) for at, path in value.items()}
    return list(value) if isinstance(value, tuple) else value
