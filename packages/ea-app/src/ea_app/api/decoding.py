"""Decoding latents from files: the last stage of a job, as often as wanted, with the autoencoder alone."""

from collections.abc import Generator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ea_app.api.job import CancelToken, find_model
from ea_app.api.latents import read_latents
from ea_app.api.output import check_output
from ea_app.api.progress import ProgressCallback
from ea_app.api.result import Result, frames_entry
from ea_app.api.result_file import ResultFile
from ea_app.catalog import Model
from ea_app.options import InputError, concerning
from ea_dit.pipelines import GenerationRequest
from ea_dit.pipelines.decoding import decode_windows, load_decoder
from ea_dit.pipelines.number_types import NumberTypes
from ea_dit.pipelines.run import Run


def decode_latents(
    latents: str | Path,
    *,
    output: str | Path | None = None,
    model: str | Model | None = None,
    device: str | None = None,
    on_progress: ProgressCallback | None = None,
    cancel: CancelToken | None = None,
) -> Result:
    """Make the frames of latents that a job left.

    Args:
        latents: A file `latents-NNNN.safetensors`; of a video in windows the others stand beside it.
        output: File to write, as for `Engine.generate`; None writes nothing.
        model: What made them; None finds it by the name in the file.
        device: Where to decode; None as recorded.
        on_progress: Told of the stage "decode".
        cancel: Stops between two windows.

    Returns:
        What the job would have given, but for its conditions; the record says how it was made, and can be
        replayed.

    Raises:
        InputError: Files that are missing, damaged or of different jobs, a model that did not make them, or
            an output that cannot be written.
        Cancelled: It was cancelled.
    """
    path = Path(latents).expanduser()
    found = read_latents(path)
    record = dict(found[0].record)
    with concerning("latents"):
        request = GenerationRequest.from_dict(_part(record, "request"))
    target = None if output is None else check_output(output, request.num_frames, (path,))
    entry = _model(model, record)
    machine = _part(record, "machine")
    with concerning("device"):
        vae = load_decoder(
            entry.directory,
            dtype=NumberTypes(str(machine.get("dtype", "auto")), str(machine.get("vae_dtype", "same"))),
            device=device or str(machine.get("device", "auto")),
            allow_pickle=entry.allow_pickle,
        )
    run = Run(on_progress=on_progress, should_stop=None if cancel is None else lambda: cancel.cancelled)
    decoded = decode_windows(vae, request, [kept.state.loop.latents for kept in found], run)
    with ResultFile(target, record) as file, closing(_named(decoded)) as portions:
        frames = file.collect(portions)
        record["timings"] = {name: round(seconds, 3) for name, seconds in run.timings.items()}
        record["frames"] = frames_entry(frames, run)
        skipped = [kept.state.skipping.skipped for kept in found if kept.state.skipping is not None]
        if skipped:
            record["teacache"] = {"skipped": [list(indices) for indices in skipped]}
        record["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        file.finish()
    return Result(frames=frames, path=target, request=request, timings=run.timings, record=record)


def described(path: Path) -> Mapping[str, Any]:
    """The record in a file of latents."""
    return read_latents(path)[0].record


def _named(decoded: Generator[Tensor, None, None]) -> Generator[Tensor, None, None]:
    """Frames as soon as they are decoded, with mistakes in them named."""
    with concerning(None), torch.backends.cudnn.flags(enabled=True, deterministic=True), closing(decoded):
        yield from decoded


def _model(given: str | Model | None, record: Mapping[str, Any]) -> Model:
    recorded = _part(record, "model")
    if isinstance(given, Model):
        entry = given
    else:
        entry = find_model(given or str(recorded.get("name")), download=given is not None)
    if entry.fingerprint() != recorded.get("fingerprint"):
        reason = f"{entry.name} is not the model that made these latents, {recorded.get('name')}"
        raise InputError("model", reason)
    return entry


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = record.get(name)
    if not isinstance(part, dict):
        raise InputError("latents", f"the record in the file has no {name}")
    return part
