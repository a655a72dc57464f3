"""A video of many windows: peak memory beside that of a single window, and how visible the joints are.

Every run is a new process, as a user starts it. Gate: the files hold the frames that were asked for.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from cold_start import PROMPT, command_line
from ea_app.api.job import find_model
from ea_data.media import probe
from report import GateError, Report

_KIBIBYTE = 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--frames", type=int, default=400, help="of the long video [default: 400]")
    parser.add_argument("--overlap", type=int, help="frames that windows share [default: the model's]")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where to keep the long video")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--device", default="cpu")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    window = find_model(arguments.model).info.native_frames
    with tempfile.TemporaryDirectory() as folder:
        long_file = arguments.keep or Path(folder) / "long.mp4"
        short, peak_short = _made(arguments, window, window, Path(folder) / "short.mp4")
        long, peak_long = _made(arguments, arguments.frames, window, long_file)
    joints = [joint["score"] for joint in long["frames"]["joints"]]
    return Report(
        figures={
            "peak_ratio": peak_long / peak_short,
            "joint_median": statistics.median(joints),
            "joint_worst": max(joints),
            "seconds_per_frame": long["timings"]["total"] / arguments.frames,
            "peak_short_mb": peak_short / 1e6,
            "peak_long_mb": peak_long / 1e6,
        },
        gate={"files_are_complete": 1.0},
        settings={
            "frames": arguments.frames,
            "window": window,
            "overlap": arguments.overlap,
            "seed": arguments.seed,
            "prompt": PROMPT,
        },
        details={
            "joints": long["frames"]["joints"],
            "stages_short": short["timings"],
            "stages_long": long["timings"],
        },
    )


def _made(
    arguments: argparse.Namespace, frames: int, window: int, output: Path
) -> tuple[dict[str, Any], float]:
    """The record of a video, and the peak memory of the process that made it, bytes."""
    options = [
        "--frames",
        str(frames),
        "--seed",
        str(arguments.seed),
        "--device",
        arguments.device,
        "--quiet",
    ]
    if arguments.overlap is not None:
        options += ["--window", str(window), "--overlap", str(arguments.overlap)]
    command = [
        *command_line(),
        "generate",
        PROMPT,
        "--model",
        arguments.model,
        *options,
        "--output",
        str(output),
    ]
    _, status, usage = os.wait4(os.posix_spawn(command[0], command, os.environ), 0)
    if status:
        raise GateError(f"{' '.join(command)} failed")
    if probe(output).frames != frames:
        raise GateError(f"{output.name} has {probe(output).frames} frames, {frames} were asked for")
    record = json.loads(output.with_name(f"{output.name}.json").read_text())
    return record, usage.ru_maxrss * _KIBIBYTE
