"""`ea-train RECIPE`: run a recipe, or continue it where it was stopped."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RECIPES = {
    "default-vae": "the autoencoder of the bundled model",
    "default-text": "the text encoder of the bundled model",
    "default-dit": "the denoiser of the bundled model, on latents of the first two",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="ea-train", description="Train the networks of EA. A run continues from its last checkpoint."
    )
    commands = top.add_subparsers(dest="recipe", metavar="RECIPE", required=True)
    for name, text in RECIPES.items():
        command = commands.add_parser(name, help=text, description=f"Train {text}.")
        command.add_argument(
            "--output", type=Path, required=True, metavar="DIR", help="run folder: checkpoints, log, export"
        )
        command.add_argument(
            "--preset", choices=("tiny", "cpu", "gpu"), default="cpu", help="machine size (default: cpu)"
        )
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="override a setting, e.g. loop.steps=500",
        )
        command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
        command.add_argument("--dry-run", action="store_true", help="print the settings as JSON and stop")
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if name == "default-dit":
            command.add_argument("--vae", type=Path, metavar="DIR", help="export of default-vae (required)")
            command.add_argument("--text", type=Path, metavar="DIR", help="export of default-text (required)")
            command.add_argument(
                "--cache", type=Path, metavar="DIR", help="where latents are kept (default: OUTPUT/latents)"
            )
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    arguments = parser().parse_args(argv)
    try:
        return _run(arguments)
    except (ValueError, OSError) as error:
        if arguments.debug:
            raise
        print(f"ea-train: error: {error}", file=sys.stderr)
        return 2


def _run(arguments: argparse.Namespace) -> int:
    from ea_train import schema
    from ea_train.recipes import find

    recipe = find(arguments.recipe)
    settings = schema.override(recipe.config(arguments.preset), arguments.set)
    if arguments.dry_run:
        print(json.dumps(schema.to_mapping(settings), indent=2))
        return 0
    return _train(arguments, recipe, settings)


def _train(arguments: argparse.Namespace, recipe: Any, settings: Any) -> int:
    from ea_kernels.runtime.device import resolve_device
    from ea_train.loop.trainer import Trainer

    device = resolve_device(arguments.device)
    parts = {}
    if arguments.recipe == "default-dit":
        for name in ("vae", "text"):
            if getattr(arguments, name) is None:
                raise ValueError(f"--{name}: give the folder that `ea-train default-{name}` exported to")
        parts = {
            "vae_directory": arguments.vae,
            "text_directory": arguments.text,
            "cache_directory": arguments.cache or arguments.output / "latents",
            "device": device,
            "on_progress": lambda done, total: print(f"latents: shard {done}/{total}", file=sys.stderr),
        }
    trainer = Trainer(recipe.build(settings, **parts), settings, arguments.output, device=device)
    trainer.fit()
    if trainer.finished_steps < settings.loop.steps:
        print(f"stopped after step {trainer.finished_steps}; the same command continues", file=sys.stderr)
        return 130
    figures = trainer.validate()
    trainer.export(
        {
            "recipe": arguments.recipe,
            "preset": arguments.preset,
            **{k: f"{v:.4f}" for k, v in figures.items()},
        }
    )
    print("  ".join(f"{name} {value:.4g}" for name, value in figures.items()))
    print(f"exported to {arguments.output / 'export'}")
    return 0
