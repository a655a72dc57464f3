"""`ea-train RECIPE`: run a recipe, or continue it where it was stopped."""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ea_train.compat.import_command import add_import_command, run_import_command
from ea_train.filling import command as precompute
from ea_train.recipes.stage_names import STAGE_NAMES, TINY

RECIPES = {
    "default": "the whole bundled model: the recipes below, then its folder",
    "default-pictures": "the autoencoder of the bundled model on single pictures",
    "default-vae": "the autoencoder of the bundled model on clips",
    "default-text": "the text encoder of the bundled model",
    "default-dit-pictures": "the denoiser of the bundled model on single pictures",
    "default-dit": "the denoiser of the bundled model, on latents of the autoencoder",
    "default-control": "a control model that grows out of the bundled one: edges and trajectories",
    "default-camera": "a control model that grows out of the bundled one: cameras",
    "default-style": "a LoRA that gives the clips of the bundled model another look",
    "finetune": "the denoiser of a model directory of any generation, on a manifest",
    "stage": "one stage of how a released generation was trained, on a manifest",
    "finetune-lora": "a LoRA over the denoiser of a model directory, on a manifest",
    "consistency": "a LoRA with which a model needs few steps and no guidance, on a manifest",
    "reward": "a LoRA that a reward likes, on prompts",
    "vae": "a released video autoencoder, further, or into one of another kind",
}


VAE_PRESETS = (
    "finetune",
    "tiny",
    "released-mag",
    "released-slice",
    "released-slice-decoder-only",
    "released-slice-t-downsample-8",
    "released-mag-v2",
    "released-cogvideox",
)
"""Those of `vae`, the default first."""


class _Parser(argparse.ArgumentParser):
    """An argument parser that states a mistake in one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")


_DENOISERS = ("default-dit-pictures", "default-dit")
_GROWN = ("default-control", "default-camera", "default-style")
_FINETUNES = ("finetune", "finetune-lora", "consistency", "reward", "stage")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = _Parser(
        prog="ea-train",
        description="Train the networks of EA. A run continues from its last checkpoint.",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="recipe", metavar="RECIPE", required=True)
    for name, text in RECIPES.items():
        command = commands.add_parser(name, help=text, description=f"Train {text}.", allow_abbrev=False)
        _add_common(command, name)
        if name in _FINETUNES:
            _add_finetune(command, name)
            continue
        if name in _GROWN:
            _add_grown(command, name)
            continue
        if name != "default-text":
            command.add_argument(
                "--data",
                type=Path,
                metavar="MANIFEST",
                help="train on the videos and pictures of a .json, .jsonl or .csv manifest "
                "(default: procedural clips)",
            )
        if name == "vae":
            command.add_argument(
                "--model",
                type=Path,
                metavar="DIR",
                help="folder of an autoencoder, or of a model with one (required)",
            )
        elif name != "default":
            command.add_argument(
                "--init", type=Path, metavar="DIR", help="start from the weights of this export of the recipe"
            )
        if name == "default-vae":
            command.add_argument(
                "--pictures", type=Path, metavar="DIR", help="start from this export of default-pictures"
            )
        if name in _DENOISERS:
            command.add_argument("--vae", type=Path, metavar="DIR", help="export of default-vae (required)")
            command.add_argument("--text", type=Path, metavar="DIR", help="export of default-text (required)")
            command.add_argument(
                "--cache", type=Path, metavar="DIR", help="where latents are kept (default: OUTPUT/latents)"
            )
    add_import_command(commands)
    _add_precompute(commands)
    _add_bundle(commands.add_parser("bundle", **_BUNDLE))
    _add_prove(commands.add_parser("prove-resume", **_PROVE))
    return top


def _add_precompute(commands: Any) -> None:
    text = "encode the clips and captions of a recipe once, for all of its runs"
    top = commands.add_parser(
        "precompute",
        help=text,
        description="Fill a folder with what the encoders make of clips and captions. Options are those of "
        "the recipe; training with the same --cache reads it. A command that was stopped continues, and "
        "several (torchrun, or by hand) may work on one folder.",
        allow_abbrev=False,
    )
    recipes = top.add_subparsers(dest="filled", metavar="RECIPE", required=True)
    for name in precompute.RECIPES:
        command = recipes.add_parser(name, help=RECIPES[name], description=text, allow_abbrev=False)
        _add_settings(command, name)
        _add_finetune(command, name)
        precompute.add_options(command)


_BUNDLE: dict[str, Any] = {
    "help": "make a model that shares all it can with the bundled one of a run of default-control or -camera",
    "description": "Write a model directory beside the bundled one that holds only the tensors that a run of "
    "default-control or default-camera changed.",
    "allow_abbrev": False,
}


def _add_bundle(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run", type=Path, required=True, metavar="DIR", help="run folder with its export")
    command.add_argument(
        "--model", type=Path, required=True, metavar="DIR", help="the model that the run grew from"
    )
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="new folder beside --model; its name becomes the model's",
    )
    command.add_argument("--description", default="", metavar="TEXT", help="one sentence for lists")
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _bundle(arguments: argparse.Namespace) -> int:
    from ea_train.bundle import bundle_run

    size = bundle_run(arguments.run, arguments.model, arguments.output, description=arguments.description)
    print(f"{arguments.output}: {size / 1e6:.1f} MB beside {arguments.model.name}")
    return 0


_PROVE: dict[str, Any] = {
    "help": "train a recipe straight and again with a kill, and compare the bits",
    "description": "Train a recipe without a break, and again with a SIGKILL and the same command once more; "
    "then compare weights, averages and optimiser states bit for bit. Further options are those of the "
    "recipe. Exit status 0: the same; 1: not.",
    "allow_abbrev": False,
}


def _add_prove(command: argparse.ArgumentParser) -> None:
    names = [name for name in RECIPES if name != "default"]
    command.add_argument("proved", choices=names, metavar="RECIPE", help=f"one of {', '.join(names)}")
    command.add_argument("-k", type=int, default=5, metavar="STEP", help="kill after this step (default: 5)")
    command.add_argument("--steps", type=int, metavar="N", help="steps of both runs (default: twice as many)")
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="new folder for both runs")
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _prove(arguments: argparse.Namespace, options: list[str]) -> int:
    from ea_train.loop.prove import prove_resume

    verdict = prove_resume(
        arguments.proved,
        options,
        arguments.output,
        kill_after=arguments.k,
        steps=arguments.steps if arguments.steps is not None else 2 * arguments.k,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(verdict)
    return 1 if verdict.different else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 when the run is finished, 130 when it was stopped and can be continued, 2 after a user's mistake.
    """
    arguments, options = parser().parse_known_args(argv)
    if options and arguments.recipe != "prove-resume":
        parser().error(f"unrecognized arguments: {' '.join(options)}")
    quiet = (
        contextlib.redirect_stdout(None) if os.environ.get("RANK", "0") != "0" else contextlib.nullcontext()
    )
    try:
        with quiet:  # of the processes that torchrun started, one speaks
            if arguments.recipe == "prove-resume":
                return _prove(arguments, options)
            return _bundle(arguments) if arguments.recipe == "bundle" else _run(arguments)
    except (ValueError, OSError) as error:
        if arguments.debug:
            raise
        print(f"ea-train: error: {_message(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130


def _message(error: Exception) -> str:
    # An error of a worker process arrives with its traceback as text; the last line is the error itself.
    text = str(error)
    return text.strip().splitlines()[-1] if "Original Traceback" in text else text


def _presets(recipe: str) -> tuple[tuple[str, ...], str | None]:
    """Names of settings, and which a recipe begins with; None for a recipe that has to be told."""
    if recipe == "vae":
        return VAE_PRESETS, VAE_PRESETS[0]
    if recipe == "stage":
        return (*STAGE_NAMES, *(f"{name}{TINY}" for name in STAGE_NAMES), "tiny"), None
    return ("tiny", "cpu", "gpu"), "cpu"


def _add_common(command: argparse.ArgumentParser, recipe: str) -> None:
    command.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="run folder: checkpoints, log, export"
    )
    _add_settings(command, recipe)
    # For prove-resume.
    command.add_argument("--kill-after", type=int, metavar="STEP", help=argparse.SUPPRESS)


def _add_settings(command: argparse.ArgumentParser, recipe: str) -> None:
    presets, default = _presets(recipe)
    text = f"(default: {default})" if default else f"(required): one of {', '.join(STAGE_NAMES)}"
    command.add_argument(
        "--preset",
        choices=presets,
        default=default,
        required=default is None,
        metavar=None if default else "STAGE",
        help=f"settings to begin with {text}",
    )
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML or JSON file of settings, over those of the preset"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="override a setting, e.g. loop.steps=500; --dry-run shows their names",
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    command.add_argument("--dry-run", action="store_true", help="print the settings as JSON and stop")
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _add_finetune(command: argparse.ArgumentParser, recipe: str) -> None:
    command.add_argument(
        "--model", metavar="DIR", help="model directory in a released layout (model.path of the settings)"
    )
    if recipe == "reward":
        command.add_argument(
            "--prompts", metavar="FILE", help="text file, one prompt a line (prompts of the settings)"
        )
    else:
        command.add_argument(
            "--data",
            metavar="MANIFEST",
            help=".json, .jsonl or .csv of clips (data.manifest of the settings)",
        )
        command.add_argument(
            "--cache",
            metavar="DIR",
            help="folder of encodings, see precompute (data.cache of the settings)",
        )


def _add_grown(command: argparse.ArgumentParser, recipe: str) -> None:
    command.add_argument(
        "--model", type=Path, metavar="DIR", help="folder of the bundled model, or one like it (required)"
    )
    command.add_argument(
        "--init", type=Path, metavar="DIR", help=f"start from the weights of this export of {recipe}"
    )
    command.add_argument(
        "--cache", type=Path, metavar="DIR", help="where latents are kept (default: OUTPUT/latents)"
    )


def _run(arguments: argparse.Namespace) -> int:
    if arguments.recipe == "import-flags":
        return run_import_command(arguments)
    if arguments.recipe in _GROWN and arguments.model is None and not arguments.dry_run:
        raise ValueError("--model: give the folder of the bundled model, see ea-app models")
    if arguments.recipe in _DENOISERS and not arguments.dry_run:
        for name in ("vae", "text"):
            if getattr(arguments, name) is None:
                raise ValueError(f"--{name}: give the folder that `ea-train default-{name}` exported to")

    from ea_train import schema
    from ea_train.recipes import find

    filling = arguments.recipe == "precompute"
    if filling:
        arguments.recipe = arguments.filled
    settings = find(arguments.recipe).config(arguments.preset)
    if arguments.config is not None:
        settings = schema.overlay(settings, arguments.config)
    settings = schema.override(settings, [*_paths(arguments), *arguments.set])
    if arguments.dry_run:
        print(json.dumps(schema.to_mapping(settings), indent=2))
        return 0
    from ea_kernels.runtime.device import resolve_device

    device = resolve_device(arguments.device)
    if device.type == "meta":
        raise ValueError("device 'meta' computes nothing; allowed are auto, cpu, cuda and cuda:N")
    if filling:
        return precompute.run_precompute(arguments, settings, device)
    train = _train_all if arguments.recipe == "default" else _train_one
    return train(arguments, settings, device)


def _paths(arguments: argparse.Namespace) -> list[str]:
    """Options of `finetune` that are settings too."""
    if arguments.recipe not in _FINETUNES:
        return []
    given = [("model.path", arguments.model)]
    if arguments.recipe == "reward":
        given.append(("prompts", arguments.prompts))
    else:
        given += [("data.manifest", arguments.data), ("data.cache", arguments.cache)]
    return [f"{name}={json.dumps(value)}" for name, value in given if value is not None]


def _train_one(arguments: argparse.Namespace, settings: Any, device: Any) -> int:
    from ea_train.run import run_recipe

    figures = run_recipe(
        arguments.recipe,
        settings,
        arguments.output,
        device=device,
        inputs=_inputs(arguments, device),
        facts={"preset": arguments.preset},
        after_step=_killer(arguments.kill_after),
    )
    if figures is None:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
    print("  ".join(f"{name} {value:.4g}" for name, value in figures.items()))
    print(f"exported to {arguments.output / 'export'}")
    return 0


def _killer(last: int | None) -> Callable[[int], None] | None:
    """What `prove-resume` kills a run with."""

    def kill(step: int) -> None:
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    return None if last is None else kill


def _train_all(arguments: argparse.Namespace, settings: Any, device: Any) -> int:
    from ea_train.bundle import bundle_model
    from ea_train.recipes import default
    from ea_train.run import run_recipe

    folder, reached = arguments.output, {}
    for stage in default.STAGES:
        recipe = f"default-{stage.replace('_', '-')}"
        print(f"== {recipe}", file=sys.stderr)
        inputs = default.inputs_of(stage, folder, device=device, data=arguments.data)
        if recipe in _DENOISERS:
            inputs["on_progress"] = _show_shards
        run = {"device": device, "inputs": inputs, "facts": {"preset": arguments.preset}}
        figures = run_recipe(recipe, getattr(settings, stage), folder / stage, **run)
        if figures is None:
            print("stopped; the same command continues", file=sys.stderr)
            return 130
        reached[stage] = {"steps": getattr(settings, stage).loop.steps, **figures}
    size = bundle_model(
        **{part: folder / part / "export" for part in ("vae", "text")},
        transformer=folder / "dit" / "export",
        output=folder / "model",
        info=default.model_info(settings),
        training={"preset": arguments.preset, **reached},
    )
    model = folder / "model"
    print(f"{model}: {size / 1e6:.1f} MB; try it with ea-app generate PROMPT --model {model}")
    return 0


def _inputs(arguments: argparse.Namespace, device: Any) -> dict[str, Any]:
    if arguments.recipe in _FINETUNES:
        return {"device": device}
    if arguments.recipe in _GROWN:
        return {
            "model": arguments.model,
            "cache_directory": arguments.cache or arguments.output / "latents",
            "device": device,
            "init": arguments.init,
            "on_progress": _show_shards,
        }
    names = {
        "default-vae": ("data", "pictures", "init"),
        "default-pictures": ("data", "init"),
        "vae": ("model", "data"),
    }
    if arguments.recipe not in _DENOISERS:
        return {name: getattr(arguments, name) for name in names.get(arguments.recipe, ("init",))}
    return {
        "vae_directory": arguments.vae,
        "text_directory": arguments.text,
        "cache_directory": arguments.cache or arguments.output / "latents",
        "device": device,
        "data": arguments.data,
        "init": arguments.init,
        "on_progress": _show_shards,
    }


def _show_shards(done: int, total: int) -> None:
    print(f"latents: shard {done}/{total}", file=sys.stderr)


if __name__ == "__main__":  # torchrun -m ea_train.cli
    raise SystemExit(main())
