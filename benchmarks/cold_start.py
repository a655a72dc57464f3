"""Seconds from the command to the file, as a user sees them; whether the same request gives the same frames.

Every run is a new process. Gate: the file holds the frames that were asked for.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ea_app.api.job import find_model
from ea_data.media import read_video
from report import GateError, Report

PROMPT = "a red circle moves to the right on a blue background"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--sizes", nargs="+", default=["64x64x17", "128x128x17"], help="WxHxFRAMES")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=3, help="runs per size [default: 3]")
    parser.add_argument("--cores", type=int, default=2, help="cores that a run may use [default: 2]")
    parser.add_argument("--device", default="cpu")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    _use_cores(arguments.cores)
    command = command_line()
    helped = [_timed([*command, "--help"]) for _ in range(5)]
    figures = {"help_seconds": statistics.median(helped)}
    details = {"help_seconds": helped}
    with tempfile.TemporaryDirectory() as folder:
        for size in _possible(arguments):
            outputs = [Path(folder) / f"{size}-{index}.mp4" for index in range(max(2, arguments.repeats))]
            seconds = [_timed([*command, *_generate(arguments, size, output)]) for output in outputs]
            figures[f"seconds_{size}"] = statistics.median(seconds)
            details[f"seconds_{size}"] = seconds
            details[f"stages_{size}"] = json.loads(_record(outputs[0]).read_text())["timings"]
            _check(outputs[0], size)
            replayed = Path(folder) / f"{size}-replay.mp4"
            _timed([*command, "replay", str(outputs[0]), "--output", str(replayed), "--quiet"])
            hashes = [_hash(output) for output in outputs]
            figures["identical_twice"] = min(
                figures.get("identical_twice", 1.0), float(len(set(hashes)) == 1)
            )
            same = float(_hash(replayed) == hashes[0])
            figures["identical_replay"] = min(figures.get("identical_replay", 1.0), same)
    gate = {"files_are_complete": 1.0}
    settings = {
        "steps": arguments.steps,
        "repeats": arguments.repeats,
        "cores": arguments.cores,
        "prompt": PROMPT,
    }
    return Report(figures=figures, gate=gate, settings=settings, details=details)


def _use_cores(count: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def command_line() -> list[str]:
    """The installed `ea-app`."""
    found = shutil.which("ea-app", path=str(Path(sys.executable).parent)) or shutil.which("ea-app")
    if found is None:
        raise GateError("the command ea-app is not installed")
    return [found]


def _possible(arguments: argparse.Namespace) -> list[str]:
    """The sizes that the model allows."""
    info = find_model(arguments.model).info
    fitting = []
    for size in arguments.sizes:
        width, height, frames = (int(part) for part in size.split("x"))
        if (
            max(width, height) <= info.max_side
            and min(width, height) >= info.min_side
            and frames <= info.max_frames
        ):
            fitting.append(size)
        else:
            print(f"{size} is outside the limits of this model and is left out", file=sys.stderr)
    return fitting


def _generate(arguments: argparse.Namespace, size: str, output: Path) -> list[str]:
    width, height, frames = size.split("x")
    given = {
        "--model": arguments.model,
        "--size": f"{width}x{height}",
        "--frames": frames,
        "--steps": arguments.steps,
        "--seed": 1,
        "--device": arguments.device,
        "--output": output,
    }
    return ["generate", PROMPT, *(str(part) for pair in given.items() for part in pair), "--quiet"]


def _timed(command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise GateError(f"{' '.join(command[:3])} failed: {done.stderr.strip()}")
    return round(seconds, 3)


def _check(output: Path, size: str) -> None:
    width, height, frames = (int(part) for part in size.split("x"))
    shape = read_video(output).frames.shape
    if shape != (frames, height, width, 3):
        raise GateError(f"{size} gave frames of the shape {shape}")


def _record(output: Path) -> Path:
    return output.with_name(output.name + ".json")


def _hash(output: Path) -> str:
    return json.loads(_record(output).read_text())["frames"]["xxh3"]
