"""One recipe from its settings to its export."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ea_train.config import RunConfig
from ea_train.loop.launch import joined, sharding_of_launcher
from ea_train.loop.parallel import World
from ea_train.loop.trackers import check_trackers
from ea_train.loop.trainer import Trainer
from ea_train.recipes import find
from ea_train.tasks.base import Closes, Task


def run_recipe(
    name: str,
    settings: RunConfig,
    output: Path,
    *,
    device: torch.device,
    inputs: Mapping[str, Any],
    facts: Mapping[str, str],
    after_step: Callable[[int], None] | None = None,
) -> dict[str, float] | None:
    """Train, or continue, and export to `output/export`; alone or with the processes that torchrun started.

    Args:
        name: Recipe.
        settings: Of that recipe.
        output: Run folder.
        device: Where the networks live; of several processes on a machine, each takes its own GPU.
        inputs: Arguments of the recipe's `build`.
        facts: Text for the header of the exported weights.
        after_step: Called after each step with the number of finished ones.

    Returns:
        The validation figures, or None if the run was stopped before its last step.

    Raises:
        ValueError: Settings, inputs or the run folder do not fit together.
    """
    check_trackers(settings.loop.trackers)
    with joined(device) as (world, own_device):
        settings = _as_launched(settings, world)
        if "device" in inputs:
            inputs = {**inputs, "device": own_device}
        with world.leader_first():  # it fills caches, which the others find
            task = find(name).build(settings, **inputs)
        trainer = Trainer(task, settings, output, device=own_device, world=world, after_step=after_step)
        with _closing(task):
            trainer.fit()
            if trainer.finished_steps < settings.loop.steps:
                return None
            figures = trainer.validate()
        numbers = {figure: f"{value:.4f}" for figure, value in figures.items()}
        trainer.export({"recipe": name, **facts, **numbers})
        world.wait()
        return figures


@contextmanager
def _closing(task: Task) -> Iterator[None]:
    try:
        yield
    finally:
        if isinstance(task, Closes):
            task.close()


def _as_launched(settings: RunConfig, world: World) -> RunConfig:
    """Spread the networks where `accelerate launch` is told to, by `--use_deepspeed` or `--use_fsdp`."""
    wish = sharding_of_launcher()
    if wish is None or settings.loop.sharding != "none" or world.size == 1:
        return settings
    if world.leads:
        print(f"{wish} is requested: loop.sharding is fsdp2, with as little memory", file=sys.stderr)  # noqa: T201
    return replace(settings, loop=replace(settings.loop, sharding="fsdp2"))
