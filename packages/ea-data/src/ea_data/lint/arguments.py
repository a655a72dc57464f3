"""The arguments of `ea-data lint`; this imports nothing heavy."""

import argparse
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from ea_data.lint.options import LintOptions

__all__ = ["add_arguments"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of the command."""
    default: dict[str, Any] = {field.name: field.default for field in fields(LintOptions)}
    parser.add_argument("manifest", type=Path, help="list of training files (.json, .jsonl, .csv, .parquet)")
    parser.add_argument(
        "--recipe", type=Path, required=True, metavar="FILE", help="what it is trained with (.yaml, .json)"
    )
    parser.add_argument(
        "--validation", type=Path, metavar="MANIFEST", help="list of files that must not be trained on"
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="folder of relative paths [of each manifest]"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON; - prints it")
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write a page with charts and contact sheets; made anew"
    )
    parser.add_argument(
        "--samples", type=int, default=48, metavar="INT", help="samples on the contact sheets [%(default)s]"
    )
    parser.add_argument("--deep", action="store_true", help="decode every frame, not nine of each video")
    parser.add_argument("--strict", action="store_true", help="exit code 1 also for warnings")
    parser.add_argument("--all", action="store_true", help="print all findings, not five of each rule")
    parser.add_argument(
        "--epochs", type=int, default=default["epochs"], metavar="INT", help="epochs to count [%(default)s]"
    )
    parser.add_argument(
        "--workers", type=int, default=_cores(), metavar="INT", help="processes that read files [%(default)s]"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=default["timeout"],
        metavar="SECONDS",
        help="for each file [%(default)g]",
    )
    parser.add_argument(
        "--repeated",
        type=int,
        default=default["repeated"],
        metavar="INT",
        help="so many rows with one caption are a finding [%(default)s]",
    )
    parser.add_argument(
        "--aspect",
        type=float,
        default=default["aspect"],
        metavar="NUMBER",
        help="sides further apart than this are a finding [%(default)g]",
    )


def _cores() -> int:
    """Cores that this process may use, at most 8."""
    allowed = getattr(os, "sched_getaffinity", None)
    return min(8, len(allowed(0)) if allowed else os.cpu_count() or 1)
