"""`ea-app models`."""

import argparse

from ea_app.catalog import bundled


def run(arguments: argparse.Namespace) -> int:
    """List the models in the box; returns the exit code."""
    models = list(bundled())
    for model in models:
        info = model.info
        size = f"{info.native_width}x{info.native_height}x{info.native_frames}"
        facts = f"{size}, {info.steps} steps, {model.size() / 1e6:.0f} MB"
        print(f"{model.name}: {facts}. {info.description}".rstrip())
        if not arguments.quiet:
            print(f"  {model.directory}")
    if not models and not arguments.quiet:
        print("no model is bundled with this installation")
    if not arguments.quiet:
        print("--model also takes a model directory, or owner/name of the hub")
    return 0
