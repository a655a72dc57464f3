"""The command line of `ea-train precompute`."""

import argparse
import sys
from dataclasses import replace
from typing import Any

RECIPES = ("finetune", "finetune-lora", "consistency", "stage")
"""Recipes that encode clips of a manifest with frozen networks."""


def add_options(command: argparse.ArgumentParser) -> None:
    """Options beside those of the recipe."""
    command.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="epochs whose random choices (clips, sizes, masks) are encoded; train with "
        "data.distinct_epochs=N too (default: that setting, else 1)",
    )
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes that open files, beside the one that encodes (default: loop.num_workers)",
    )


def run_precompute(arguments: argparse.Namespace, settings: Any, device: Any) -> int:
    """Fill the store.

    Returns:
        0 when everything is encoded, 130 when it was stopped.

    Raises:
        ValueError: Settings do not fit, or the store cannot be written.
    """
    from ea_train.filling.run import fill  # noqa: PLC0415  --help needs none of it
    from ea_train.loop.launch import joined  # noqa: PLC0415

    settings = filling_settings(settings, arguments.epochs)
    workers = settings.loop.num_workers if arguments.workers is None else arguments.workers
    if workers < 0:
        raise ValueError(f"--workers must be at least 0, got {workers}")
    with joined(device) as (world, own_device):
        filled = fill(settings, device=own_device, world=world, workers=workers)
    number = "1 encoding" if filled.made == 1 else f"{filled.made} encodings"
    if filled.stopped:
        print(f"stopped after {number}; the same command continues", file=sys.stderr)  # noqa: T201
        return 130
    print(f"{number} made; the rest was there" if filled.made else "everything was there")  # noqa: T201
    return 0


def filling_settings(settings: Any, epochs: int | None) -> Any:
    """The settings of a run as they are when its store is filled.

    Raises:
        ValueError: There is no store, or the number of epochs cannot be.
    """
    data = settings.data
    if not data.cache:
        raise ValueError("data.cache is empty; give the folder to fill (--cache DIR)")
    if epochs is not None:
        data = replace(data, distinct_epochs=epochs)
    return replace(settings, data=replace(data, cache_mode="fill"))
