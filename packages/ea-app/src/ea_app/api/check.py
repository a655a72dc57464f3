"""What a job asks of a model, before the model's weights are read."""

from collections.abc import Sequence
from pathlib import Path

from ea_app.api.conditions import to_conditions
from ea_app.api.fields import concerning_fields
from ea_app.api.job import Job, find_model
from ea_app.api.loras import LoraSource, concerning_loras, uses_of
from ea_app.api.weights import concerning_weights
from ea_app.catalog import Model
from ea_app.options import InputError
from ea_dit.pipelines import GenerationRequest, read_outline


def to_request(job: Job) -> GenerationRequest:
    """A job as the pipeline takes it."""
    with concerning_fields(as_options=True):
        return GenerationRequest.from_dict(job.fields, to_conditions(job.arrays, job.placed))


def check_kind(job: object) -> None:
    """Refuse what is neither a job nor a request.

    Raises:
        InputError: With its type.
    """
    if not isinstance(job, Job | GenerationRequest):
        kind = type(job).__name__
        raise InputError("job", f"must be a Job, as Engine.job makes it, or a GenerationRequest, got {kind}")


def check_job(
    job: Job | GenerationRequest,
    model: str | Model,
    *,
    motion_module: str | Path | None = None,
    transformer_weights: str | Path | None = None,
    loras: Sequence[LoraSource] = (),
) -> None:
    """Refuse what a model cannot do, and LoRAs that do not fit it: configs and headers are read, no weights.

    Args:
        job: From options, or a request.
        model: A bundled name, a directory, a hub id, or what `catalog.find` gave.
        motion_module: File of V1's motion modules, where it is not in the directory.
        transformer_weights: A personalised checkpoint.
        loras: What is to be over its transformer.

    Raises:
        InputError: Naming the option (or the field of a request) and what is allowed; or the model, if it is
            not understood.
    """
    check_kind(job)
    entry = find_model(model, motion_module=motion_module) if isinstance(model, str) else model
    with concerning_weights({"motion_module": motion_module, "transformer_weights": transformer_weights}):
        try:
            outline = read_outline(
                entry.directory,
                motion_module=motion_module,
                transformer_weights=transformer_weights,
                allow_pickle=entry.allow_pickle,
            )
        except OSError as error:
            raise ValueError(f"{entry.directory} cannot be read: {error}") from error
    request = to_request(job) if isinstance(job, Job) else job
    with concerning_fields(as_options=isinstance(job, Job)):
        outline.check(request)
    with concerning_loras(loras):
        outline.check_loras(uses_of(loras), allow_pickle=entry.allow_pickle)
