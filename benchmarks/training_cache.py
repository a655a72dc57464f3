"""How long does training wait for data that is encoded already, and how soon does a run go on?

The model is finetuned on generated clips: once with everything encoded in every step, once from a cache. The
first step of the continued run is timed from the start of its process. Gate: cached and live losses of the
first step are the same up to rounding.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ea_app.api.job import find_model
from report import GateError, Report

_ROUNDING = 1e-3
"""Of losses in bfloat16."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--size", default="64x64", help="WxH [default: 64x64]")
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--device", default="cpu")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = ["--count", str(arguments.clips), "--size", arguments.size, "--frames", str(arguments.frames)]
        _run("ea_data.cli", "synthesize", str(folder / "clips"), *clips)
        filled = _timed("ea_train.cli", "precompute", "finetune", *_options(arguments, folder, cached=True))
        live = _train(arguments, folder, "live", cached=False)
        cached = _train(arguments, folder, "cached", cached=True)
        seconds, of_processor = _seconds_to_step(arguments, folder)
    first = [losses[0]["loss/generator"] for losses in (live, cached)]
    difference = abs(first[0] - first[1]) / first[0]
    if difference > _ROUNDING:
        raise GateError(f"the cached loss is {first[1]}, the live one {first[0]}")
    figures = {
        "data_wait": statistics.median(line["speed/data_wait"] for line in cached[1:]),
        "resume_seconds": seconds,
        "resume_processor_seconds": of_processor,
        "step_seconds_cached": statistics.median(line["speed/seconds_per_step"] for line in cached[1:]),
        "step_seconds_live": statistics.median(line["speed/seconds_per_step"] for line in live[1:]),
        "precompute_seconds": filled,
    }
    names = ("clips", "size", "frames", "steps", "device")
    settings = {name: getattr(arguments, name) for name in names}
    return Report(figures=figures, gate={"loss_difference": difference}, settings=settings)


def _options(arguments: argparse.Namespace, folder: Path, *, cached: bool) -> list[str]:
    places = [
        "--model",
        str(find_model(arguments.model).directory),
        "--data",
        str(folder / "clips/metadata.jsonl"),
    ]
    store = ["--cache", str(folder / "cache")] if cached else []
    values = (
        f"loop.steps={arguments.steps}",
        f"loop.checkpoint_every={arguments.steps - 2}",
        "loop.log_every=1",
        "loop.validate_every=0",
        "data.distinct_epochs=1",
        "validation.positions=[0.5]",
    )
    sets = [part for value in values for part in ("--set", value)]
    return ["--device", arguments.device, *places, *store, *sets]


def _train(arguments: argparse.Namespace, folder: Path, name: str, *, cached: bool) -> list[dict[str, Any]]:
    output = folder / name
    _run("ea_train.cli", "finetune", "--output", str(output), *_options(arguments, folder, cached=cached))
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss/generator" in line]


def _seconds_to_step(arguments: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Until a process that continues the cached run logs its first step; by the clock, and of a processor."""
    used = _processor_seconds()
    log = folder / "cached/log.jsonl"
    before = len(log.read_text().splitlines())
    options = _options(arguments, folder, cached=True)
    more = ["--set", f"loop.steps={arguments.steps + 4}"]
    command = _command("ea_train.cli", "finetune", "--output", str(folder / "cached"), *options, *more)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while len(log.read_text().splitlines()) <= before:
            if process.poll():
                raise GateError("the run did not continue")
            time.sleep(0.02)
        seconds = time.perf_counter() - start
    finally:
        process.kill()
        process.wait()
    return seconds, _processor_seconds() - used


def _processor_seconds() -> float:
    """Of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _command(module: str, *words: str) -> list[str]:
    return [sys.executable, "-c", f"from {module} import main; raise SystemExit(main())", *words]


def _timed(module: str, *words: str) -> float:
    start = time.perf_counter()
    _run(module, *words)
    return time.perf_counter() - start


def _run(module: str, *words: str) -> None:
    done = subprocess.run(_command(module, *words), capture_output=True, text=True, check=False)
    if done.returncode:
        raise GateError(f"{words[0]}: {done.stderr.strip().splitlines()[-1]}")
