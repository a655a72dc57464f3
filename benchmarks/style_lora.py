"""Does a style LoRA change the look, and nothing else?

The same held-out prompts and seeds are made with the LoRA and without. `style` is the share of pixels that
have the look; prompts are judged after the look was taken away again. Gate: ground truth with the look,
through the autoencoder, has it, and the judge is right in it.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from statistics import mean

from ea_app.api.engine import Engine
from ea_data.synthetic import SceneSpec
from ea_data.synthetic.styles import STYLES, Style, find_style
from report import GateError, Report
from sampling import Frames, Progress, add_sampling_arguments, generate_one, load
from scenes import Seen, clip_of, held_out, look, prompt_of, rates
from vae_reconstruction import reconstruct

_LEAST_STYLE = 0.95
_LEAST_RIGHT = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    add_sampling_arguments(parser, count=48)
    parser.add_argument("--lora", type=Path, required=True, help="file of the LoRA")
    parser.add_argument("--style", default="pastel", choices=tuple(STYLES), help="what it learned")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    style, scenes = find_style(arguments.style), held_out(arguments.count, arguments.seed)
    plain, setup = load(arguments)
    truth = [clip_of(scene, setup.frames, setup.height, setup.width) for scene in scenes]
    gate = check_truth(plain, style, scenes, truth)
    styled = Engine.load(
        arguments.model, device=arguments.device, dtype=arguments.dtype, loras=(f"{arguments.lora}:1",)
    )
    progress = Progress(len(scenes))
    shown, shown_plain = [], []
    seen: list[Seen] = []
    seen_plain: list[Seen] = []
    for index, scene in enumerate(scenes):
        request = setup.request(prompt_of(scene), arguments.seed + index)
        made, usual = generate_one(styled, request), generate_one(plain, request)
        shown.append(style.shown(made))
        shown_plain.append(style.shown(usual))
        seen.append(look(scene, style.undo(made)))
        seen_plain.append(look(scene, usual))
        progress.step()
    return Report(
        figures={
            "style": mean(shown),
            "style_without": mean(shown_plain),
            **rates(seen),
            **{f"{name}_without": value for name, value in rates(seen_plain).items()},
        },
        gate=gate,
        settings={"clips": len(scenes), "seed": arguments.seed, "style": style.name, **asdict(setup)},
    )


def check_truth(
    engine: Engine, style: Style, scenes: list[SceneSpec], truth: list[Frames]
) -> dict[str, float]:
    """Ground truth with the look, through the autoencoder, measured like generated clips.

    Raises:
        GateError: The look or the scenes cannot be told from it.
    """
    kept = [reconstruct(engine.pipeline.components.vae, style.apply(clip)) for clip in truth]
    right = rates(look(scene, style.undo(clip)) for scene, clip in zip(scenes, kept, strict=True))
    gate = {"truth_style": mean(map(style.shown, kept)), **{f"truth_{k}": v for k, v in right.items()}}
    if gate["truth_style"] < _LEAST_STYLE or min(right.values()) < _LEAST_RIGHT:
        raise GateError(
            f"ground truth must show the style in {_LEAST_STYLE:.0%} and be judged right, got {gate}"
        )
    return gate
