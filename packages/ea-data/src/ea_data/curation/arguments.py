"""The arguments of `ea-data run`; this imports nothing heavy."""

import argparse
import os
from pathlib import Path
from typing import Final

__all__ = ["add_arguments", "add_stage_arguments"]

_ENGINES: Final = ("processes", "inline", "ray")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of the command."""
    parser.add_argument(
        "plan",
        metavar="PLAN",
        help="offline, easyanimate-v5, open-sora-1.1, paper, prompts, or a file (.yaml)",
    )
    _add_run_arguments(parser, "STAGE.OPTION=VALUE", "motion.least=0.5", "the plan with all options")


def add_stage_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of `ea-data stage`."""
    from ea_data.curation.registry import STAGES  # noqa: PLC0415  (only where the command is asked for)

    parser.add_argument("stage", choices=tuple(STAGES), metavar="STAGE", help=", ".join(STAGES))
    _add_run_arguments(parser, "OPTION=VALUE", "least=0.5", "the options of the stage")


def _add_run_arguments(parser: argparse.ArgumentParser, settings: str, example: str, shown: str) -> None:
    """What every command that runs stages takes.

    Args:
        parser: Of the command.
        settings: How `--set` is written.
        example: Of that.
        shown: What `--show` prints.
    """
    parser.add_argument(
        "input", type=Path, nargs="?", metavar="INPUT", help="folder, manifest, or list of prompts"
    )
    parser.add_argument(
        "output", type=Path, nargs="?", metavar="OUTPUT", help="folder; a run there continues"
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar=settings,
        help=f"another value, such as {example}; may be given several times",
    )
    parser.add_argument("--show", action="store_true", help=f"print {shown}, and do nothing")
    parser.add_argument(
        "--engine",
        choices=_ENGINES,
        default=_ENGINES[0],
        help="a pool of processes, this process, or Ray [%(default)s]",
    )
    parser.add_argument(
        "--workers", type=int, default=_cores(), metavar="INT", help="processes at work [%(default)s]"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="for each file and stage, of the engine processes [%(default)g]",
    )
    parser.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster [Ray on this machine]")
    parser.add_argument(
        "--samples", type=int, default=24, metavar="INT", help="pictures on a contact sheet [%(default)s]"
    )


def _cores() -> int:
    """Cores that this process may use, at most 8."""
    allowed = getattr(os, "sched_getaffinity", None)
    return min(8, len(allowed(0)) if allowed else os.cpu_count() or 1)
