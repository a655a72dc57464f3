"""`ea-app plan`: what a request will need. Loads no torch."""

import argparse
import json

from ea_app.catalog import find
from ea_app.options import PLANNED, InputError
from ea_app.planning import Plan, find_machine, plan


def run(arguments: argparse.Namespace) -> int:
    """Print it; returns 0, or 1 if it does not fit."""
    try:
        model = find(arguments.model or "default", download=False)
    except ValueError as error:
        raise InputError("model", str(error)) from None
    options = {key: getattr(arguments, key) for key in PLANNED if getattr(arguments, key) is not None}
    made = plan(model, find_machine(arguments.device or "auto"), **options)
    print(json.dumps(made.to_dict(), indent=2) if arguments.json else describe(made))
    return 1 if made.fits is False else 0


def describe(made: Plan) -> str:
    """The plan in a few lines."""
    settings, machine = made.settings, made.machine
    width, height = settings["size"]
    windows = f" in {settings['windows']} windows" if settings["windows"] > 1 else ""
    device = f"{machine.cores} cores" if machine.is_cpu else machine.name
    free = {True: ", which is free", False: ", which is NOT free", None: ""}[made.fits]
    lines = [
        f"{made.model}: {width}x{height}, {settings['frames']} frames{windows}, {settings['steps']} steps, "
        f"{made.tokens} tokens, {made.memory}",
        f"memory: {made.peak_gigabytes:.2f} GB at most on {device}{free}; "
        f"weights {made.weights_gigabytes:.2f} GB",
        f"time: about {_clock(made.seconds)} (within a factor of two; {machine.source})",
    ]
    lines += [
        f"  {part.name:<8} {_clock(part.seconds):>10} {part.teraflops:>10.3g} TFLOP {part.gigabytes:>7.2f} GB"
        for part in made.stages
    ]
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
