"""The command line of `ea-train import-flags`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any


def add_import_command(commands: Any) -> None:
    """Add the command to the subparsers of `ea-train`."""
    text = "settings that do what a training command of EasyAnimate did"
    command = commands.add_parser(
        "import-flags",
        help=text,
        description=f"Print {text}, as YAML. Nothing of the script is run.",
        allow_abbrev=False,
    )
    command.add_argument(
        "source", metavar="SCRIPT", help="shell script, - for standard input, or a command line"
    )
    command.add_argument("--output", type=Path, metavar="FILE", help="write there instead of printing")
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")


def run_import_command(arguments: argparse.Namespace) -> int:
    """Print or write the settings.

    Raises:
        ValueError: The script has no command that can be translated.
        OSError: A file cannot be read or written.
    """
    from ea_train.compat.importing import import_flags  # noqa: PLC0415  --help needs none of it

    source, output = arguments.source, arguments.output
    path = Path(source)
    if source == "-":
        text = sys.stdin.read()
    elif " " in source.strip() and not path.is_file():
        text = source
    else:
        text = path.read_text(encoding="utf-8")
    found = import_flags(text, os.environ)
    if output is None:
        print(found, end="")  # noqa: T201  the output of a command
    else:
        output.write_text(found, encoding="utf-8")
    return 0
