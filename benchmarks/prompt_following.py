"""Does a clip show what a prompt says whose combination was never trained?

Prompts are captions of held-out scenes, half of them Chinese. A blind judge with classical vision names what
each clip shows. Gate: the judge is right in at least 99 % of ground-truth clips of the same scenes.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from contact_sheet import CLIPS, write_sheet
from report import Report
from sampling import Progress, add_sampling_arguments, generate_batches, load
from scenes import check_judge, confusion, held_out, look, prompt_of, rates, rates_by_language


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    add_sampling_arguments(parser, count=320)
    parser.add_argument("--batch", type=int, default=16, help="clips at a time [default: 16]")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of the first 32 clips to this png")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    scenes = held_out(arguments.count, arguments.seed)
    engine, setup = load(arguments)
    gate = check_judge(scenes, setup.frames, setup.height, setup.width)
    prompts = [prompt_of(scene) for scene in scenes]
    seeds = [arguments.seed + index for index in range(len(scenes))]
    progress, seen, shown = Progress(len(scenes)), [], []
    for scene, clip in zip(
        scenes, generate_batches(engine, setup, prompts, seeds, arguments.batch), strict=True
    ):
        seen.append(look(scene, clip))
        if len(shown) < CLIPS:
            shown.append((scene, clip, seen[-1]))
        progress.step()
    if arguments.sheet:
        write_sheet(arguments.sheet, shown)
    return Report(
        figures={**rates(seen), "seconds_per_clip": progress.seconds_per_clip},
        gate=gate,
        settings={
            "prompts": len(scenes),
            "seed": arguments.seed,
            **asdict(setup),
            "batch": arguments.batch,
        },
        details={"by_language": rates_by_language(seen), "mistakes": confusion(seen)},
    )
