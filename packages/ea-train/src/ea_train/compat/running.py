"""Running a script's command line with one of our recipes."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

from ea_train.compat.parser import Launch
from ea_train.compat.report import report_lines
from ea_train.compat.runs import run_of
from ea_train.compat.settings import applied
from ea_train.compat.table import SCRIPTS
from ea_train.compat.translation import Translation

_ON = ("true", "1", "yes")


def main(script: str, argv: Sequence[str] | None = None) -> int:
    """Run a script's command line; of several processes, the first speaks about what goes well.

    Args:
        script: A name of `ea_train.compat.table.SCRIPTS`.
        argv: Its arguments; those of this process if None.

    Returns:
        0 when the run is finished, 130 when it was stopped and can be continued, 2 after a user's mistake.
    """
    try:
        run = run_of(script, sys.argv[1:] if argv is None else argv, launch_of(os.environ))
        return _train(run)
    except (ValueError, OSError) as error:
        text = str(error).removeprefix(f"{SCRIPTS[script]}: ")
        # Of every process: what is wrong may be wrong for one of them alone.
        print(f"{SCRIPTS[script]}: error: {_last_line(text)}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        _say("stopped; the same command continues")
        return 130


def launch_of(environment: Mapping[str, str]) -> Launch:
    """What `accelerate launch` and `torchrun` say in the environment.

    Raises:
        ValueError: The number of processes is none.
    """
    processes = environment.get("WORLD_SIZE", "1")
    if not processes.isdigit() or int(processes) < 1:
        raise ValueError(f"WORLD_SIZE must be a number from 1, got {processes!r}")
    return Launch(
        processes=int(processes),
        precision=environment.get("ACCELERATE_MIXED_PRECISION"),
        deepspeed=environment.get("ACCELERATE_USE_DEEPSPEED", "").lower() in _ON,
    )


def _train(run: Translation) -> int:
    for line in report_lines(run):
        _say(line)
    from ea_train.recipes import find  # noqa: PLC0415  torch, which a wrong flag need not wait for
    from ea_train.run import run_recipe  # noqa: PLC0415

    recipe, device = find(run.recipe), _device(os.environ)
    settings = _with_kept_facts(applied(recipe.config(run.preset), run.settings), run.output)
    if run.epochs is not None:
        settings = replace(settings, loop=replace(settings.loop, steps=steps_of_epochs(settings, run)))
    figures = run_recipe(
        run.recipe,
        settings,
        run.output,
        device=device,
        inputs=run.inputs | ({"device": device} if "device" in signature(recipe.build).parameters else {}),
        facts={"script": SCRIPTS[run.given.script]},
    )
    if figures is None:
        _say("stopped; the same command continues")
        return 130
    if figures:
        _say("  ".join(f"{name} {value:.4g}" for name, value in figures.items()))
    _say(f"exported to {run.output / 'export'}")
    return 0


def _with_kept_facts(settings: Any, output: Path) -> Any:
    """Sizes and lengths of files stay in the run folder, so that they are looked at once."""
    if not hasattr(settings, "data") or settings.data.facts_cache:
        return settings
    output.mkdir(parents=True, exist_ok=True)
    return replace(settings, data=replace(settings.data, facts_cache=str(output / "facts.json")))


def steps_of_epochs(settings: Any, run: Translation) -> int:
    """Optimiser steps of the epochs that a command asks for: over rows of a list, or over prompts.

    Args:
        settings: Of the recipe, with data.
        run: The translated command line.

    Raises:
        ValueError: The data cannot be used.
    """
    from ea_train.data import ManifestBatches  # noqa: PLC0415
    from ea_train.tasks.reward_prompts import read_prompts  # noqa: PLC0415

    assert run.epochs is not None
    if run.given.script == "train_reward_lora":
        held_out = Path(settings.validation_prompts) if settings.validation_prompts else None
        batches = -(-len(read_prompts(Path(settings.prompts), held_out).train) // settings.loop.batch_size)
    else:
        recipe = replace(settings.data.recipe, batch_size=settings.loop.batch_size)
        batches = len(ManifestBatches(replace(settings.data, recipe=recipe)).dataset)
    together = (run.given.launch.processes or 1) * settings.loop.grad_accum
    return run.epochs * -(-batches // together)


def _device(environment: Mapping[str, str]) -> Any:
    from ea_kernels.runtime.device import resolve_device  # noqa: PLC0415

    return resolve_device("cpu" if environment.get("ACCELERATE_USE_CPU", "").lower() in _ON else "auto")


def _last_line(text: str) -> str:
    """Of an error of a worker process, which arrives with its traceback as text, the error itself."""
    return text.strip().splitlines()[-1] if "Original Traceback" in text else text


def _say(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr)  # noqa: T201  the output of a command
