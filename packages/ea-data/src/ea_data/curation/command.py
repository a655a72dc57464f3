"""What `ea-data run` does."""

import argparse
from collections.abc import Callable
from typing import Final

import yaml

from ea_data.curation.curate import Engines, curate
from ea_data.curation.plan import Plan, load_plan
from ea_data.curation.report import table_lines
from ea_data.curation.run import Progress
from ea_data.curation.single import option_lines, plan_of_stage
from ea_data.processes import terminated_in_order

__all__ = ["run", "run_stage"]

_MOST_SAMPLES: Final = 200


def run(arguments: argparse.Namespace, *, notify: Callable[[str], None], progress: Progress) -> str:
    """Do what a command line says.

    Args:
        arguments: As `ea_data.curation.arguments` describes them.
        notify: Is told what is downloaded.
        progress: Is told how far a stage is.

    Returns:
        What to print.

    Raises:
        ValueError: A mistake of the user.
    """
    plan = load_plan(arguments.plan, arguments.set or ())
    return plan_text(plan) if arguments.show else _curated(plan, arguments, notify, progress)


def run_stage(arguments: argparse.Namespace, *, notify: Callable[[str], None], progress: Progress) -> str:
    """Do what a command line of `ea-data stage` says; see `run`.

    Raises:
        ValueError: A mistake of the user.
    """
    if arguments.show:
        return option_lines(arguments.stage)
    return _curated(plan_of_stage(arguments.stage, arguments.set or ()), arguments, notify, progress)


def _curated(
    plan: Plan, arguments: argparse.Namespace, notify: Callable[[str], None], progress: Progress
) -> str:
    if not 0 <= arguments.samples <= _MOST_SAMPLES:
        raise ValueError(f"--samples is {arguments.samples}; allowed: 0 to {_MOST_SAMPLES}")
    if arguments.input is None or arguments.output is None:
        raise ValueError("INPUT and OUTPUT are missing; only --show needs none")
    engines = Engines(
        name=arguments.engine,
        workers=arguments.workers,
        timeout=arguments.timeout,
        address=arguments.address,
    )
    with terminated_in_order():
        report = curate(
            plan,
            arguments.input,
            arguments.output,
            engines=engines,
            samples=arguments.samples,
            notify=notify,
            progress=progress,
        )
    return "\n".join([*table_lines(report), f"report: {arguments.output / 'report' / 'index.html'}"])


def plan_text(plan: Plan) -> str:
    """A plan as the YAML that makes it, every option with its value."""
    return yaml.safe_dump(plan.to_mapping(), sort_keys=False, allow_unicode=True, width=100).rstrip()
