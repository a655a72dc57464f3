"""What `ea-data lint` does."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ea_data.lint.options import LintOptions
from ea_data.lint.page import check_folder, write_folder
from ea_data.lint.rows import listed_files, read_rows
from ea_data.lint.run import lint
from ea_data.lint.samples import sheet_samples
from ea_data.lint.tables import report_lines
from ea_data.media import write_text
from ea_data.media.folders import refuse_inputs
from ea_data.processes import terminated_in_order
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
    _check_targets(arguments)
    with terminated_in_order():
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


def _check_targets(arguments: argparse.Namespace) -> None:
    """Refuse names of results that would replace something else, before any work is done."""
    page, text = arguments.report, None if arguments.json == _SCREEN else arguments.json
    if page is not None:
        check_folder(page)
    if text is not None and not text.parent.is_dir():
        raise ValueError(f"--json is {text}; its folder does not exist")
    if page is not None and text is not None and text.resolve().is_relative_to(page.resolve()):
        raise ValueError(f"--json is {text}, in the folder of --report, which is made anew; allowed: another")
    for option, target in (("--json", text), ("--report", page)):
        if target is not None:
            manifests = [path for path in (arguments.manifest, arguments.validation) if path is not None]
            refuse_inputs(option, target, manifests, "a manifest that is read")
            refuse_inputs(option, target, [arguments.recipe], "the recipe")
            if target.exists():  # rows are read twice only for that
                refuse_inputs(option, target, _listed(manifests, arguments.root), "a file of a manifest")


def _listed(manifests: list[Path], root: Path | None) -> Iterator[Path]:
    for manifest in manifests:
        yield from listed_files(read_rows(manifest, root))
