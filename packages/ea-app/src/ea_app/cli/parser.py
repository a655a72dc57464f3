"""Arguments of `ea-app`, from the option table. Imports nothing heavy: `--help` is instant."""

import argparse
import difflib
import re
from collections.abc import Callable
from importlib import metadata
from typing import NoReturn

from ea_app.options import OPTIONS, InputError, option

_GROUPS = {
    "what": "what to generate",
    "inputs": "pictures and videos to start from",
    "output": "the file",
    "words": "a language model that rewrites the prompt first (off unless asked for)",
    "machine": "model and machine",
}
_ARGUMENT = re.compile(r"argument (\S+?): (.*)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are `InputError`s: one line, no usage before it."""

    def error(self, message: str) -> NoReturn:
        """Name the field of argparse's message."""
        if message.startswith("unrecognized arguments: "):
            self._unknown(message.removeprefix("unrecognized arguments: ").split()[0])
        if message.startswith("the following arguments are required: "):
            field = message.removeprefix("the following arguments are required: ").split(",")[0]
            raise InputError(field.lower(), f"is missing; see {self.prog} --help")
        if found := _ARGUMENT.fullmatch(message):
            field = found[1].split("/")[-1].lstrip("-").lower()
            raise InputError(field, f"{found[2]}; see {self.prog} --help")
        raise InputError("arguments", message)

    def _unknown(self, name: str) -> NoReturn:
        flag = name.split("=")[0]
        if not flag.startswith("-"):
            raise InputError(
                "arguments", f"{name!r} is one too many; put a prompt of several words in quotes"
            )
        known = [f"--{entry.name}" for entry in OPTIONS]
        close = difflib.get_close_matches(flag, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "see ea-app generate --help"
        raise InputError(flag, f"unknown option; {hint}")


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog="ea-app", description="Generate videos and images.", allow_abbrev=False)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_generate(commands.add_parser)
    _add_replay(commands.add_parser)
    models = commands.add_parser("models", help="list the models in the box", allow_abbrev=False)
    _add_common(models)
    doctor = commands.add_parser("doctor", help="check this installation", allow_abbrev=False)
    _add_option(doctor.add_argument, "model")
    _add_common(doctor)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"ea-app {metadata.version('ea-app')}")
        parser.exit()


def _add_generate(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "generate",
        help="make a video or an image from a prompt",
        description="Make a video or an image, from words alone or also from pictures or a video.",
        allow_abbrev=False,
    )
    parser.add_argument("prompt", metavar="PROMPT", help="what to show, in quotes")
    for group, title in _GROUPS.items():
        section = parser.add_argument_group(title)
        for entry in OPTIONS:
            if entry.group == group:
                _add_option(section.add_argument, entry.key)
    _add_common(parser)


def _add_replay(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "replay",
        help="make a result again from its file",
        description="Make a result again: the same frames, from the record in the file or beside it.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="a file that ea-app wrote, or its .json")
    parser.add_argument("--output", metavar="FILE", help="file to write [default: NAME-replay beside FILE]")
    parser.add_argument("--model", metavar="NAME", help="use this model instead of the recorded one")
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N [default: as recorded]")
    _add_common(parser)


def _add_option(add_argument: Callable[..., object], key: str) -> None:
    entry = option(key)
    text = entry.describe().replace("%", "%%")
    add_argument(f"--{entry.name}", dest=key, metavar=entry.metavar, help=text)


def _add_common(parser: Parser) -> None:
    parser.add_argument("--quiet", action="store_true", help="print nothing but mistakes")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
