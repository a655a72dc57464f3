"""Do keyframes show at their places, do masks keep what they should, does more strength change more?

Given pixels are those of held-out scenes, with their own prompts; a prompt that says something else than
what is kept pulls at it, which is measured too. The model has learned first frames, last frames, both, and
boxes, not frames in the middle. Gate: the judge is right in at least 99 % of their true clips.
"""

import argparse
from dataclasses import asdict, replace
from itertools import pairwise
from statistics import median

import numpy as np
import torch
from torch import Tensor

from ea_app.api.engine import Engine
from ea_dit.pipelines import Frames as GivenFrames
from ea_dit.pipelines import Video
from metrics import psnr
from report import Report, spread
from sampling import Frames, Progress, Setup, add_sampling_arguments, generate_one, load
from scenes import check_judge, clip_of, held_out, prompt_of

STRENGTHS = (0.3, 0.5, 0.7, 0.9)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    add_sampling_arguments(parser, count=24)


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    scenes = held_out(arguments.count, arguments.seed)
    engine, setup = load(arguments)
    gate = check_judge(scenes, setup.frames, setup.height, setup.width)
    progress = Progress(len(scenes))
    values: dict[str, list[float]] = {}
    for index, scene in enumerate(scenes):
        truth = clip_of(scene, setup.frames, setup.height, setup.width)
        prompt, seed = prompt_of(scene), arguments.seed + index
        other = prompt_of(scenes[(index + len(scenes) // 2) % len(scenes)])
        found = {
            **_keyframes(engine, setup, prompt, seed, truth),
            **_mask(engine, setup, prompt, seed, truth),
            "mask_kept_other_prompt_psnr": _mask(engine, setup, other, seed, truth)["mask_kept_psnr"],
            **_strength(engine, setup, prompt, seed, truth),
        }
        for name, value in found.items():
            values.setdefault(name, []).append(value)
        progress.step()
    monotone = values.pop("strength_monotone")
    return Report(
        figures={
            **{name: median(found) for name, found in values.items()},
            "strength_monotone": sum(monotone) / len(monotone),
        },
        gate=gate,
        settings={"clips": len(scenes), "seed": arguments.seed, "strengths": STRENGTHS, **asdict(setup)},
        details={name: spread(found) for name, found in values.items()},
    )


def _keyframes(engine: Engine, setup: Setup, prompt: str, seed: int, truth: Frames) -> dict[str, float]:
    """First, middle and last frame are given: PSNR where they are given."""
    places = {"first": 0, "middle": len(truth) // 2, "last": len(truth) - 1}
    given = [GivenFrames(pixels=_pixels(truth[place]), at=place) for place in places.values()]
    made = generate_one(engine, setup.request(prompt, seed, *given))
    return {f"keyframe_{name}_psnr": psnr(made[place], truth[place]) for name, place in places.items()}


def _mask(engine: Engine, setup: Setup, prompt: str, seed: int, truth: Frames) -> dict[str, float]:
    """The middle of the frame is made anew: PSNR of what is kept, and of what is made, to the given."""
    made_anew = np.zeros((setup.height, setup.width), dtype=bool)
    made_anew[setup.height // 4 : -setup.height // 4, setup.width // 4 : -setup.width // 4] = True
    video = Video(pixels=_pixels(truth), mask=torch.from_numpy(made_anew))
    made = generate_one(engine, setup.request(prompt, seed, video))
    return {
        "mask_kept_psnr": psnr(made[:, ~made_anew], truth[:, ~made_anew]),
        "mask_made_psnr": psnr(made[:, made_anew], truth[:, made_anew]),
    }


def _strength(engine: Engine, setup: Setup, prompt: str, seed: int, truth: Frames) -> dict[str, float]:
    """How far clips are from the given one, and whether that grows with the strength."""
    video = Video(pixels=_pixels(truth))
    change = []
    for strength in STRENGTHS:
        request = replace(setup.request(prompt, seed, video), strength=strength)
        made = generate_one(engine, request)
        change.append(float(np.abs(made.astype(np.float32) - truth).mean()))
    grows = all(low < high for low, high in pairwise(change))
    return {f"change_at_{strength}": value for strength, value in zip(STRENGTHS, change, strict=True)} | {
        "strength_monotone": float(grows)
    }


def _pixels(frames: Frames) -> Tensor:
    return torch.from_numpy(frames.copy()).movedim(-1, 0)
