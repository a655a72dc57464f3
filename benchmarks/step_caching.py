"""Leaving out steps (TeaCache): how many, how much faster, how far the frames are from those of all steps.

Exact and approximate runs take turns in one process; the ratio is that of processor time in denoising. Gate:
with a threshold of 0, which leaves nothing out, the frames are those of a run without a cache.
"""

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ea_app.api.engine import Engine
from metrics import Frames, psnr
from report import GateError, Report, spread

PROMPTS = (
    "a red circle moves to the right on a blue background",
    "a green square moves up on a white background",
    "a yellow triangle moves to the left on a black background",
    "a blue star moves down on a gray background",
)


@dataclass(frozen=True)
class Made:
    """A clip.

    Attributes:
        frames: (T, H, W, 3).
        seconds: Processor time of denoising.
        skipped: Steps that were left out.
    """

    frames: Frames
    seconds: float
    skipped: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--threshold", type=float, default=0.1, help="see --teacache [default: 0.1]")
    parser.add_argument("--curve", choices=("released", "identity"), default="identity")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--turns", type=int, default=3, help="of every prompt [default: 3]")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    engine = Engine.load(arguments.model, device=arguments.device, dtype=arguments.dtype)
    threshold = arguments.threshold
    exact = [_make(engine, arguments, seed, None) for seed in range(len(PROMPTS))]
    if not np.array_equal(exact[0].frames, _make(engine, arguments, 0, 0.0).frames):
        raise GateError("a threshold of 0 changes the frames")
    ratios = [
        _make(engine, arguments, seed, None).seconds / _make(engine, arguments, seed, threshold).seconds
        for seed in range(len(PROMPTS))
        for _ in range(arguments.turns)
    ]
    left_out = [_make(engine, arguments, seed, threshold) for seed in range(len(PROMPTS))]
    apart = [psnr(one.frames, other.frames) for one, other in zip(exact, left_out, strict=True)]
    skipped = [made.skipped for made in left_out]
    return Report(
        figures={
            "times_faster": statistics.median(ratios),
            "skipped_share": statistics.mean(skipped) / arguments.steps,
            "psnr_lowest": min(apart),
            "psnr_mean": statistics.mean(apart),
        },
        gate={"nothing_left_out_is_exact": 1.0},
        settings={
            "threshold": threshold,
            "curve": arguments.curve,
            "steps": arguments.steps,
            "turns": arguments.turns,
        },
        details={"times_faster": spread(ratios), "skipped": skipped, "psnr": apart},
    )


def _make(engine: Engine, arguments: argparse.Namespace, seed: int, threshold: float | None) -> Made:
    more: dict[str, Any] = (
        {} if threshold is None else {"teacache": threshold, "teacache_curve": arguments.curve}
    )
    begun, ended = 0.0, 0.0

    def watch(stage: str, step: int, total: int) -> None:
        nonlocal begun, ended
        if stage == "denoise" and step == 0:
            begun = time.process_time()
        if stage == "denoise" and step == total:
            ended = time.process_time()

    job = engine.job(PROMPTS[seed], seed=seed, steps=arguments.steps, **more)
    result = engine.generate(job, on_progress=watch)
    left_out = result.record.get("teacache", {"skipped": [[]]})["skipped"]
    return Made(result.frames.numpy(), ended - begun, sum(map(len, left_out)))
