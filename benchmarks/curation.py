"""How fast are the stages that need no weights, and do motion vectors tell what dense flow tells?

The clips are drawn: textures under a camera that pans, each clip at another speed, H.264 at 1280x720. Every
stage of the plan `offline` is timed by itself in processor seconds, clip by clip; motion by every
method. Gate: the methods rank the clips as their speeds do (Spearman).
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ea_data.curation.plan import load_plan
from ea_data.curation.registry import open_stage
from ea_data.curation.stage import Item, ItemStage
from ea_data.media import write_video
from quiet import load
from report import GateError, Report, spread

HEIGHT, WIDTH, RATE = 720, 1280, 24
METHODS = {
    "farneback": {"method": "farneback"},
    "dis": {"method": "dis"},
    "vectors": {"method": "vectors"},
}
LEAST_RANK = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--clips", type=int, default=8, help="clips [default: 8]")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a clip [default: 4]")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    before = load()
    # Faster ones are more than Farnebäck's flow can follow over half a second.
    speeds = np.geomspace(0.2, 2.5, arguments.clips)
    with tempfile.TemporaryDirectory() as folder:
        clips = [draw(Path(folder, f"{n}.mp4"), n, float(v), arguments.seconds) for n, v in enumerate(speeds)]
        motion = {name: _timed("motion", options, clips) for name, options in METHODS.items()}
        stages = {
            step.label: _timed(step.stage, dict(step.options), clips)[0]
            for step in load_plan("offline").steps
            if "/" not in step.label and isinstance(step.opened(), ItemStage)
        }
    scores = {name: [value["motion_score"] for value in values] for name, (_, values) in motion.items()}
    ranks = {name: _rank_correlation(found, speeds) for name, found in scores.items()}
    if min(ranks.values()) < LEAST_RANK:
        raise GateError(f"the methods do not rank the clips as their speeds do: {ranks}")
    medians = {name: statistics.median(seconds) for name, (seconds, _) in motion.items()}
    figures = {
        "vectors_over_farneback": medians["farneback"] / medians["vectors"],
        "dis_over_farneback": medians["farneback"] / medians["dis"],
        "rank_vectors_farneback": _rank_correlation(scores["vectors"], np.array(scores["farneback"])),
        "offline_clips_per_second": 1 / sum(statistics.median(seconds) for seconds in stages.values()),
    }
    figures |= {
        f"{name}_clips_per_second": 1 / statistics.median(seconds) for name, seconds in stages.items()
    }
    details: dict[str, Any] = {
        f"motion_{name}_seconds": spread(seconds) for name, (seconds, _) in motion.items()
    }
    details |= {f"{name}_seconds": spread(seconds) for name, seconds in stages.items()}
    settings = {
        "clips": f"{arguments.clips} of {arguments.seconds:g} s, {WIDTH}x{HEIGHT} at {RATE} fps, H.264",
        "speeds": [round(float(speed), 3) for speed in speeds],
        **before,
        "note": "processor seconds of one process, which other work changes little; a stage is "
        "opened before its first clip is timed",
    }
    gate = {f"rank_{name}": value for name, value in ranks.items()}
    return Report(figures=figures, gate=gate, settings=settings, details=details)


def draw(
    path: Path,
    seed: int,
    speed: float,
    seconds: float,
    *,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    rate: float = RATE,
) -> Path:
    """A texture with detail at all scales, under a camera that pans so many pixels a frame."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    height, width = size
    tall, wide = height, width + round(speed * count) + 1
    scene = np.full((tall, wide, 3), 128, np.float32)
    for cell in (4, 16, 64):
        small = rng.normal(0, 10 + cell / 4, (tall // cell + 2, wide // cell + 2, 3)).astype(np.float32)
        parts = [
            np.array(Image.fromarray(small[..., c]).resize((wide, tall), Image.Resampling.BICUBIC))
            for c in range(3)
        ]
        scene += np.stack(parts, axis=-1)
    scene = np.clip(scene, 0, 255).astype(np.uint8)
    frames = np.stack([scene[:, round(speed * n) :][:, :width] for n in range(count)])
    return write_video(path, frames, fps=rate, crf=20)


def _timed(name: str, options: dict[str, Any], clips: list[Path]) -> tuple[list[float], list[Any]]:
    """Processor seconds of a stage for each clip, and what it measured."""
    stage = open_stage(name, options)
    assert isinstance(stage, ItemStage)
    stage.open()
    columns = {"width": WIDTH, "height": HEIGHT, "stem": "clip", "caption": "A clip.", "camera": "pan right"}
    seconds, values = [], []
    for clip in clips:
        begin = time.process_time()
        values.append(stage.measure(Item(path=clip, kind="video", columns=columns)))
        seconds.append(time.process_time() - begin)
    return seconds, values


def _rank_correlation(first: Any, second: Any) -> float:
    ranks = [np.argsort(np.argsort(np.asarray(values))).astype(float) for values in (first, second)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
