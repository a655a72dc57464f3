"""What `ea-data lint` does."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ea_data.lint.options import LintOptions
from ea_data.lint.page import check_folder, write_folder
from ea_data.lint.run import lint
from ea_data.lint.samples import sheet_samples
from ea_data.lint.tables import report_lines
from ea_data.media import write_text
from ea_data.training.recipe import DataRecipe

__all__ = ["run"]

_SCREEN: Final = Path("-")
_MOST_SAMPLES: Final = 2000


def run(arguments: argparse.Namespace, *, progress: Callable[[int, int], None]) -> tuple[str, int]:
    """Do what a command line says.

    Args:
        arguments: As `ea_data.lint.arguments` describes them.
        progress: Is told how many files are done, and how many there are.

    Returns:
        What to print, and the exit code: 0, or 1 with an error (with `--strict` any finding).

    Raises:
        ValueError: A mistake of the user: a recipe or manifest that cannot be read, a value out of range.
    """
    if not 0 <= arguments.samples <= _MOST_SAMPLES:
        raise ValueError(f"--samples is {arguments.samples}; allowed: 0 to {_MOST_SAMPLES}")
    options = LintOptions(
        deep=arguments.deep,
        timeout=arguments.timeout,
        workers=arguments.workers,
        epochs=arguments.epochs,
        repeated=arguments.repeated,
        aspect=arguments.aspect,
    )
    recipe = DataRecipe.from_file(arguments.recipe)
    if arguments.report is not None:
        check_folder(arguments.report)
    if arguments.json is not None and arguments.json != _SCREEN and not arguments.json.parent.is_dir():
        raise ValueError(f"--json is {arguments.json}; its folder does not exist")
    report = lint(
        arguments.manifest,
        recipe,
        validation=arguments.validation,
        root=arguments.root,
        options=options,
        progress=progress,
    )
    lines = list(report_lines(report, everything=arguments.all))
    if arguments.json == _SCREEN:
        lines = [report.json_text().rstrip()]
    elif arguments.json is not None:
        write_text(arguments.json, report.json_text())
    if arguments.report is not None:
        page = write_folder(arguments.report, report, list(sheet_samples(report, arguments.samples)))
        if arguments.json != _SCREEN:
            lines.append(f"report: {page}")
    return "\n".join(lines), report.exit_code(strict=arguments.strict)
