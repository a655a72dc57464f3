"""The training command in a shell script: its launcher, its script, its arguments."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from ea_train.compat.shell import Statement, read_statements
from ea_train.compat.table import SCRIPTS

_MODULE: Final = "ea_train.compat."
_MENTIONS: Final = r"train\w*(?:\.py)?"
_LAUNCHERS: Final = ("accelerate", "torchrun", "deepspeed", "python", "python3")
_ALONE: Final = (
    "--use_deepspeed", "--use_fsdp", "--multi_gpu", "--cpu", "--use_cpu", "--debug", "--quiet",
    "--standalone", "--tpu", "--use_xpu", "--no_python", "-m", "--module",
)  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A training command.

    Attributes:
        line: Of the file, from 1.
        script: A name of `ea_train.compat.table.SCRIPTS`.
        arguments: Of the script.
        launcher: What stands before the script: option to value, "" for options without one.
    """

    line: int
    script: str
    arguments: tuple[str, ...]
    launcher: dict[str, str]

    @property
    def precision(self) -> str | None:
        """Mixed precision that the launcher sets."""
        return self.launcher.get("--mixed_precision")

    @property
    def processes(self) -> int | None:
        """How many processes the launcher starts, None where it does not say."""
        for name in ("--num_processes", "--nproc_per_node", "--nproc-per-node"):
            if self.launcher.get(name, "").isdigit():
                return int(self.launcher[name])
        return None


def read_commands(text: str, variables: Mapping[str, str]) -> list[Command]:
    """The training commands of a shell script; nothing is run.

    Args:
        text: The script, or one command line.
        variables: Known before it, for example the environment.

    Raises:
        ValueError: There is none, or one cannot be read; one line.
    """
    statements = read_statements(text, variables, needed=_MENTIONS)
    commands = [command for statement in statements if (command := _command(statement)) is not None]
    if not commands:
        raise ValueError(f"no training command; known scripts: {', '.join(f'{name}.py' for name in _EASY)}")
    return commands


_EASY: Final = tuple(name for name in SCRIPTS if name != "opensora")


def _command(statement: Statement) -> Command | None:
    words = statement.words
    for place, word in enumerate(words):
        if (script := _script(word)) and (place == 0 or PurePosixPath(words[0]).name in _LAUNCHERS):
            arguments = words[place + 1 :]
            if script == "train" and _is_open_sora(arguments):
                script = "opensora"
            return Command(statement.line, script, arguments, _options(words[1:place]))
    return None


def _script(word: str) -> str | None:
    """The script that a word names: `scripts/train.py`, or our module."""
    name = word.removeprefix(_MODULE) if word.startswith(_MODULE) else PurePosixPath(word).name
    if name == word and not word.endswith(".py"):
        return None
    name = name.removesuffix(".py")
    if word == f"{_MODULE}train_opensora":
        return "opensora"
    return name if name in _EASY else None


def _is_open_sora(arguments: tuple[str, ...]) -> bool:
    """Both have a `train.py`; that of Open-Sora begins with a config file."""
    return any(re.fullmatch(r"[^-].*\.py", word) for word in arguments)


def _options(words: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("-"):
            option, _, value = word.partition("=")
            found[option] = value
            name = "" if value or option in _ALONE else option
        elif name:
            found[name], name = word, ""
    return found
