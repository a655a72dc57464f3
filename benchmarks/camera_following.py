"""Does a camera model go where the rays say?

Cameras are those of held-out scenes; the prompts say what is seen and nothing of motion. A blind judge names
the move: of clips that were given the camera alone, the camera and a first picture, and neither. Gate: ground
truth that went through the autoencoder is named right.
"""

import argparse
from collections import Counter
from dataclasses import asdict
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch

from ea_app.api.engine import Engine
from ea_data.control.camera import plucker_rays
from ea_data.synthetic.camera_scenes import CameraScene, sample_camera_scene
from ea_data.synthetic.clips import caption_of, draw
from ea_data.synthetic.judge.camera import judge_camera
from ea_dit.pipelines import Camera, Condition, Reference
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
    seen: dict[str, list[_Seen]] = {"picture": [], "alone": [], "none": []}
    for index, scene in enumerate(scenes):
        request = (caption_of(scene, motion=False), arguments.seed + index)
        camera, truth = _camera(scene, setup), _truth(scene, setup)
        given: dict[str, tuple[Condition, ...]] = {
            "picture": (camera, Reference(pixels=torch.from_numpy(truth[0].copy()).movedim(-1, 0))),
            "alone": (camera,),
            "none": (),
        }
        for name, conditions in given.items():
            made = generate_one(engine, setup.request(*request, *conditions))
            seen[name].append(_Seen(judge_camera(made).move or "unknown", _shift_error(made, truth)))
        progress.step()
    figures = {
        f"camera_direction_{name}": mean(
            float(one.move == scene.move) for one, scene in zip(found, scenes, strict=True)
        )
        for name, found in seen.items()
    }
    figures |= {f"shift_pixels_{name}": mean(one.off for one in found) for name, found in seen.items()}
    return Report(
        figures=figures,
        gate=gate,
        settings={"clips": len(scenes), "seed": arguments.seed, **asdict(setup)},
        details={
            f"{kind}_{name}": value
            for name, found in seen.items()
            for kind, value in (
                ("shift_pixels", spread([one.off for one in found])),
                ("mistakes", _mistakes(scenes, found)),
            )
        },
    )


class _Seen(NamedTuple):
    """What is seen of the camera of a clip: its move, and how far off the background went, pixels."""

    move: str
    off: float


def _mistakes(scenes: list[CameraScene], found: list[_Seen]) -> dict[str, int]:
    wrong = Counter(
        f"{scene.move} -> {one.move}"
        for scene, one in zip(scenes, found, strict=True)
        if one.move != scene.move
    )
    return dict(wrong.most_common(12))


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
