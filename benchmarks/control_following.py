"""Does a control model follow edges and trajectories?

Signals are those of held-out scenes, prompts their own. Every figure has two others beside it: the same clip
against the signal of another scene (`_shuffled`), and a clip that was made without any (`_none`). Gate:
ground truth that went through the autoencoder follows its own signal.
"""

import argparse
from dataclasses import asdict
from statistics import mean

import numpy as np
import torch

from ea_app.api.engine import Engine
from ea_data.synthetic import SceneSpec
from ea_data.synthetic.clips import Clip, draw
from ea_data.synthetic.signals import heat
from ea_dit.pipelines import Control
from following import edge_f1, edges, path_error, path_of
from report import GateError, Report, spread
from sampling import Frames, Progress, Setup, add_sampling_arguments, generate_one, load
from scenes import held_out, prompt_of
from vae_reconstruction import reconstruct

_LEAST_F1 = 0.9
_MOST_PIXELS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    add_sampling_arguments(parser, count=48)


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    engine, setup = load(arguments)
    if engine.pipeline.components.traits.variant != "control":
        raise GateError("--model must be a control model, such as default-control")
    scenes = held_out(arguments.count, arguments.seed)
    clips = [_drawn(scene, setup) for scene in scenes]
    gate = check_truth(engine, clips)
    values: dict[str, list[float]] = {}
    progress = Progress(len(scenes))
    for index, (scene, clip) in enumerate(zip(scenes, clips, strict=True)):
        other = clips[(index + 1) % len(clips)]
        request = (prompt_of(scene), arguments.seed + index)
        free = generate_one(engine, setup.request(*request))
        lines, points = edges(clip.frames), path_of(clip.frames)
        drawn = generate_one(engine, setup.request(*request, _control(lines)))
        moved = generate_one(engine, setup.request(*request, _control(heat(clip))))
        short = min(setup.height, setup.width)
        found = {
            "edge_f1": edge_f1(edges(drawn), lines),
            "edge_f1_shuffled": edge_f1(edges(drawn), edges(other.frames)),
            "edge_f1_none": edge_f1(edges(free), lines),
            "trajectory_pixels": path_error(path_of(moved), points, short),
            "trajectory_pixels_shuffled": path_error(path_of(moved), path_of(other.frames), short),
            "trajectory_pixels_none": path_error(path_of(free), points, short),
        }
        for name, value in found.items():
            values.setdefault(name, []).append(value)
        progress.step()
    return Report(
        figures={name: mean(found) for name, found in values.items()},
        gate=gate,
        settings={"clips": len(scenes), "seed": arguments.seed, **asdict(setup)},
        details={name: spread(found) for name, found in values.items()},
    )


def check_truth(engine: Engine, clips: list[Clip]) -> dict[str, float]:
    """Ground truth through the autoencoder, measured like generated clips.

    Raises:
        GateError: It does not follow its own signals, so no model could.
    """
    kept = [reconstruct(engine.pipeline.components.vae, clip.frames) for clip in clips]
    pairs = list(zip(kept, clips, strict=True))
    short = min(clips[0].frames.shape[1:3])
    gate = {
        "truth_edge_f1": mean(edge_f1(edges(made), edges(clip.frames)) for made, clip in pairs),
        "truth_pixels": mean(path_error(path_of(made), path_of(clip.frames), short) for made, clip in pairs),
    }
    if not (gate["truth_edge_f1"] >= _LEAST_F1 and gate["truth_pixels"] <= _MOST_PIXELS):
        raise GateError(
            f"ground truth through the autoencoder must reach {_LEAST_F1} and {_MOST_PIXELS} pixels, "
            f"got {gate}"
        )
    return gate


def _drawn(scene: SceneSpec, setup: Setup) -> Clip:
    return draw(scene, num_frames=setup.frames, height=setup.height, width=setup.width)


def _control(signal: np.ndarray) -> Control:
    """A signal (T, H, W) as pixels."""
    grey = signal.astype(np.uint8) * 255 if signal.dtype == np.bool_ else signal
    colours: Frames = np.repeat(grey[None], 3, axis=0)
    return Control(pixels=torch.from_numpy(colours))
