"""Does a clip start with the given picture, and does what the prompt says happen to it?

The pictures are first (and last) frames of held-out scenes. Gate: the judge is right in at least 99 % of
their ground-truth clips.
"""

import argparse
from dataclasses import asdict

import torch
from torch import Tensor

from ea_dit.pipelines import Frames as GivenFrames
from metrics import psnr
from report import Report, spread
from sampling import Frames, Progress, add_sampling_arguments, generate_one, load
from scenes import check_judge, clip_of, confusion, held_out, look, prompt_of, rates


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    add_sampling_arguments(parser, count=100)


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    scenes = held_out(arguments.count, arguments.seed)
    engine, setup = load(arguments)
    gate = check_judge(scenes, setup.frames, setup.height, setup.width)
    progress = Progress(2 * len(scenes))
    first, start, end, seen, seen_both = [], [], [], [], []
    for index, scene in enumerate(scenes):
        truth = clip_of(scene, setup.frames, setup.height, setup.width)
        prompt, seed = prompt_of(scene), arguments.seed + index
        made = generate_one(engine, setup.request(prompt, seed, GivenFrames(pixels=_pixels(truth[0]))))
        first.append(psnr(made[0], truth[0]))
        seen.append(look(scene, made))
        progress.step()
        ends = (GivenFrames(pixels=_pixels(truth[0])), GivenFrames(pixels=_pixels(truth[-1]), at=-1))
        made = generate_one(engine, setup.request(prompt, seed, *ends))
        start.append(psnr(made[0], truth[0]))
        end.append(psnr(made[-1], truth[-1]))
        seen_both.append(look(scene, made))
        progress.step()
    spreads = {
        "first_frame_psnr": spread(first),
        "both_ends_first_psnr": spread(start),
        "both_ends_last_psnr": spread(end),
    }
    return Report(
        figures={
            **{name: values["median"] for name, values in spreads.items()},
            "first_frame_share_above_25": sum(value >= 25 for value in first) / len(first),
            "motion": rates(seen)["motion"],
            "both_ends_motion": rates(seen_both)["motion"],
            "seconds_per_clip": progress.seconds_per_clip,
        },
        gate=gate,
        settings={
            "clips": len(scenes),
            "seed": arguments.seed,
            **asdict(setup),
        },
        details={"psnr": spreads, "rates": rates(seen), "mistakes": confusion(seen)},
    )


def _pixels(frame: Frames) -> Tensor:
    return torch.from_numpy(frame.copy()).movedim(-1, 0)
