"""`ea-train import-flags`: the recipe that does what a command in a shell script did."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ea_train.compat.command import Command, read_commands
from ea_train.compat.parser import Launch
from ea_train.compat.runs import run_of
from ea_train.compat.settings import nested, yaml_lines
from ea_train.compat.table import SCRIPTS, flags_of
from ea_train.compat.translation import Translation

_EXAMPLE = "recipe.yaml"
_ORDER = ("model", "adapter", "data", "encoding", "conditions", "objective", "task", "optim", "loop")


def import_flags(source: str, variables: Mapping[str, str]) -> str:
    """Recipes for the training commands of a shell script, as YAML with comments.

    Args:
        source: A shell script, a file that is one, or a command line. Nothing of it is run.
        variables: Known before the script, for example the environment.

    Returns:
        One YAML document per command, each with the command that runs it.

    Raises:
        ValueError: There is no such command, or it cannot be translated; one line.
    """
    documents = [
        "\n".join(_document(command, _translated(command))) for command in read_commands(source, variables)
    ]
    return "\n---\n".join(documents) + "\n"


def _translated(command: Command) -> Translation:
    deepspeed = "--use_deepspeed" in command.launcher
    launch = Launch(processes=command.processes, precision=command.precision, deepspeed=deepspeed)
    try:
        return run_of(command.script, command.arguments, launch)
    except ValueError as error:
        raise ValueError(f"line {command.line}: {error}") from None


def _document(command: Command, run: Translation) -> Iterator[str]:
    yield f"# {SCRIPTS[command.script]}, line {command.line}. Save this as {_EXAMPLE}, then:"
    yield f"# {command_line(run, Path(_EXAMPLE))}"
    if run.epochs is not None:
        yield (
            f"# loop.steps is to be set: {run.epochs} epochs, each of as many steps as there are batches / "
            "processes / loop.grad_accum"
        )
    yield from yaml_lines(_in_order(nested(run.settings)), {**run.comments, **_origins(run)})
    for flag, text in run.notes:
        yield f"# {flag}: {text}"


def command_line(run: Translation, settings: Path) -> str:
    """The command that runs a translated command line, with its settings in a file."""
    words = ["ea-train", run.recipe, "--output", str(run.output)]
    if run.preset:
        words += ["--preset", run.preset]
    words += ["--config", str(settings)]
    for name, value in run.inputs.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def _in_order(groups: dict[str, Any]) -> dict[str, Any]:
    first = [name for name in _ORDER if name in groups]
    return {name: groups[name] for name in [*first, *(name for name in groups if name not in first)]}


def _origins(run: Translation) -> dict[str, str]:
    """Flags that were written, by the settings that they fill."""
    found: dict[str, list[str]] = {}
    for flag in flags_of(run.given.script):
        if flag.dest in run.given.written:
            for setting in flag.to:
                found.setdefault(setting, []).append(flag.name)
    return {setting: ", ".join(flags) for setting, flags in found.items()}
