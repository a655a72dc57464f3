"""Command lines of the scripts, read as the scripts read them: same spellings, types and defaults."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from ea_kernels.runtime.hints import known_names
from ea_train.compat.table import LISTS, SCRIPTS, Flag, flags_of

_TRUE: Final = ("yes", "true", "t", "y", "1")
_FALSE: Final = ("no", "false", "f", "n", "0")
_NUMBERS: Final = {"int": int, "ints": int, "float": float}


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What the launcher says.

    Attributes:
        processes: How many train together; None where that is not known.
        precision: Mixed precision of the launcher.
        deepspeed: Whether the launcher asks for DeepSpeed.
    """

    processes: int | None = None
    precision: str | None = None
    deepspeed: bool = False


@dataclass(frozen=True)
class Given:
    """A command line.

    Attributes:
        script: A name of `ea_train.compat.table.SCRIPTS`.
        values: Of all flags, by their Python names, defaults included.
        written: Python names of the flags that the command line has.
        more: What only `train_vae.py` takes: `key.of.the.config=value`.
        launch: What the launcher says.
    """

    script: str
    values: dict[str, Any]
    written: frozenset[str]
    more: tuple[str, ...] = ()
    launch: Launch = field(default_factory=Launch)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{self.prog}: {message}")


def parse(script: str, arguments: Sequence[str], launch: Launch | None = None) -> Given:
    """Read the arguments of a script.

    Args:
        script: A name of `ea_train.compat.table.SCRIPTS`.
        arguments: Its command line, without its name.
        launch: What the launcher says; nothing if None.

    Raises:
        ValueError: An unknown flag, a missing one, or a value of the wrong type; one line.
    """
    parser = build_parser(script)
    found, rest = parser.parse_known_args(list(arguments))
    more = tuple(word for word in rest if script == "train_vae" and "=" in word and word[0] != "-")
    if unknown := [word for word in rest if word not in more]:
        raise ValueError(f"{SCRIPTS[script]}: {_unknown(script, unknown[0])}")
    written = vars(found)
    values = {flag.dest: flag.default_of(script) for flag in flags_of(script)}
    return Given(script, {**values, **written}, frozenset(written), more, launch or Launch())


def build_parser(script: str) -> argparse.ArgumentParser:
    """The parser of a script; what is not written is left out of its result."""
    parser = _Parser(
        prog=SCRIPTS[script],
        description=f"The command line of {SCRIPTS[script]}; see docs/training-flags.md.",
        argument_default=argparse.SUPPRESS,
    )
    for flag in flags_of(script):
        _add(parser, flag, script)
    return parser


def _add(parser: argparse.ArgumentParser, flag: Flag, script: str) -> None:
    options: dict[str, Any] = {"help": _help(flag, script)}
    if flag.type == "switch":
        options["action"] = "store_true"
    elif flag.type in ("word", "truth"):
        options |= {"nargs": "?", "const": True, "type": str if flag.type == "word" else _truth}
    else:
        options |= {"type": _NUMBERS.get(flag.type, str), "choices": flag.choices or None}
        if flag.type in LISTS:
            options["nargs"] = "*" if flag.type == "list" else "+"
    if flag.name[0] == "-":
        options["required"] = flag.required
    names = [name for name in (flag.short, flag.name) if name]
    parser.add_argument(*names, **options)


def _help(flag: Flag, script: str) -> str:
    goes = f"-> {', '.join(flag.to)}" if flag.to else flag.status
    value = flag.default_of(script)
    default = "" if value is None or flag.type == "switch" else f" [{value}]"
    return f"{goes}{default}".replace("%", "%%")


def _truth(text: str) -> bool:
    word = text.lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(_TRUE + _FALSE)}")


def _unknown(script: str, word: str) -> str:
    if not word.startswith("-"):
        return f"argument {word!r} belongs to no flag"
    name = word.partition("=")[0]
    return f"unknown flag {name}; {known_names(name, (flag.name for flag in flags_of(script)))}"
