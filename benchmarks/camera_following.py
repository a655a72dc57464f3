"""Does a camera model go where the rays say?

Cameras are those of held-out scenes; the prompts say what is seen and nothing of motion. A blind judge names
the move. Beside it stand clips that were made without a camera. Gate: ground truth that went through the
autoencoder is named right.
"""

import argparse
from collections import Counter
from dataclasses import asdict
from statistics import mean

import numpy as np
import torch

from ea_app.api.engine import Engine
from ea_data.control.camera import plucker_rays
from ea_data.synthetic.camera_scenes import CameraScene, sample_camera_scene
from ea_data.synthetic.clips import caption_of, draw
from ea_data.synthetic.judge.camera import judge_camera
from ea_dit.pipelines import Camera
from report import GateError, Report, spread
from sampling import Frames, Progress, Setup, add_sampling_arguments, generate_one, load
from vae_reconstruction import reconstruct

_LEAST_RIGHT = 0.95


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    add_sampling_arguments(parser, count=48)


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    engine, setup = load(arguments)
    if engine.pipeline.components.traits.variant != "camera":
        raise GateError("--model must be a camera model, such as default-camera")
    scenes = [sample_camera_scene(arguments.seed, index, split="heldout") for index in range(arguments.count)]
    gate = check_truth(engine, setup, scenes)
    progress = Progress(len(scenes))
    right: list[bool] = []
    free_right: list[bool] = []
    off: list[float] = []
    free_off: list[float] = []
    mistakes = Counter[str]()
    for index, scene in enumerate(scenes):
        request = (caption_of(scene, motion=False), arguments.seed + index)
        made = generate_one(engine, setup.request(*request, _camera(scene, setup)))
        free = generate_one(engine, setup.request(*request))
        named = judge_camera(made).move
        right.append(named == scene.move)
        free_right.append(judge_camera(free).move == scene.move)
        truth = _truth(scene, setup)
        off.append(_shift_error(made, truth))
        free_off.append(_shift_error(free, truth))
        if named != scene.move:
            mistakes[f"{scene.move} -> {named}"] += 1
        progress.step()
    return Report(
        figures={
            "camera_direction": mean(map(float, right)),
            "camera_direction_none": mean(map(float, free_right)),
            "shift_pixels": mean(off),
            "shift_pixels_none": mean(free_off),
        },
        gate=gate,
        settings={"clips": len(scenes), "seed": arguments.seed, **asdict(setup)},
        details={"shift_pixels": spread(off), "mistakes": dict(mistakes.most_common(12))},
    )


def check_truth(engine: Engine, setup: Setup, scenes: list[CameraScene]) -> dict[str, float]:
    """Share of moves that the judge names right in ground truth through the autoencoder.

    Raises:
        GateError: It is too small, so no model could be judged.
    """
    vae = engine.pipeline.components.vae
    named = [judge_camera(reconstruct(vae, _truth(scene, setup))).move for scene in scenes]
    share = mean(float(name == scene.move) for name, scene in zip(named, scenes, strict=True))
    if share < _LEAST_RIGHT:
        raise GateError(
            f"the judge must be right in {_LEAST_RIGHT:.0%} of ground-truth clips, got {share:.3f}"
        )
    return {"judge_move": share}


def _truth(scene: CameraScene, setup: Setup) -> Frames:
    return draw(scene, num_frames=setup.frames, height=setup.height, width=setup.width).frames


def _shift_error(made: Frames, truth: Frames) -> float:
    """How far apart two clips say that the background went, pixels."""
    found, meant = judge_camera(made).shift, judge_camera(truth).shift
    return float(np.hypot(found[0] - meant[0], found[1] - meant[1])) * min(truth.shape[1:3])


def _camera(scene: CameraScene, setup: Setup) -> Camera:
    rays = plucker_rays(scene.path(setup.frames), setup.frames, setup.height, setup.width)
    return Camera(rays=torch.from_numpy(rays).movedim(1, 0))
