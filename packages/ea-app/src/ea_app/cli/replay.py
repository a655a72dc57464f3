"""`ea-app replay`."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ea_app.api.job import find_model, job_from_record
from ea_app.api.loras import recorded_loras
from ea_app.api.output import check_output
from ea_app.api.record import find_sources, read_record
from ea_app.api.weights import paths_of, recorded_weights
from ea_app.catalog import Model
from ea_app.cli.console import Console
from ea_app.options import InputError


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns 0 when the frames are the recorded ones, 1 when they differ."""
    console = Console(quiet=arguments.quiet)
    path = Path(arguments.file).expanduser()
    record = read_record(path)
    weights = paths_of(recorded_weights(record, path.parent))
    loras = recorded_loras(record, path.parent)
    model = find_model(
        arguments.model or record["model"]["name"],
        download=arguments.model is not None,
        motion_module=weights.get("motion_module"),
        allow_pickle=arguments.allow_pickle,
    )
    _check_model(model, record, console, chosen=arguments.model is not None)
    job = job_from_record(
        model, record, find_sources(record, path.parent, allow_pickle=arguments.allow_pickle)
    )
    output = check_output(arguments.output or _default_output(path), job.frames, (path, *job.files))

    from ea_app.api import Engine
    from ea_dit.pipelines.number_types import NumberTypes

    Engine.check(job, model, **weights, loras=loras)
    job = job.extracted(console.note)
    machine = record["machine"]
    with console.progress() as on_progress:
        on_progress("load", 0, 1)
        engine = Engine.load(
            model,
            device=arguments.device or machine["device"],
            dtype=NumberTypes(machine["dtype"], machine.get("vae_dtype", "same")),
            memory=_memory(machine.get("memory")),
            threads=machine["threads"],
            loras=loras,
            **weights,
        )
        on_progress("load", 1, 1)
        if engine.memory_note:
            console.note_when_it_runs(engine.memory_note)
        result = engine.generate(job, output=output, on_progress=on_progress)
    console.wrote(result)
    if result.frames_hash == record["frames"]["xxh3"]:
        console.say("identical frames")
        return 0
    console.warn(f"the frames differ from the recorded ones; {_difference(record, result.record)}")
    return 1


def _default_output(path: Path) -> Path:
    media = path.with_suffix("") if path.suffix.lower() == ".json" else path
    return media.with_name(f"{media.stem}-replay{media.suffix}")


def _memory(recorded: object) -> str:
    """The recorded memory mode where it decides the frames; else what fits this machine."""
    return recorded if isinstance(recorded, str) and recorded.endswith("qfloat8") else "auto"


def _check_model(model: Model, record: Mapping[str, Any], console: Console, *, chosen: bool) -> None:
    if model.fingerprint() == record["model"]["fingerprint"]:
        return
    if not chosen:
        reason = f"{model.name} is not what it was when the file was made; --model NAME tries another"
        raise InputError("model", reason)
    console.note_when_it_runs(
        f"model: {model.name} is another model than the recorded {record['model']['name']}"
    )


def _difference(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What is not as it was: the likely reason."""
    changed = [
        f"{name} was {old}, is {now[part].get(name)}"
        for part in ("versions", "machine")
        for name, old in recorded.get(part, {}).items()
        if now[part].get(name) != old
    ]
    if recorded["model"]["fingerprint"] != now["model"]["fingerprint"]:
        old, new = (record["model"]["name"] for record in (recorded, now))
        changed.insert(0, f"the model {old} {'has other files' if old == new else f'is now {new}'}")
    return "; ".join(changed) or "model, versions and machine are as they were"
