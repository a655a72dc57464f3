"""Run a benchmark and write its result: `python benchmarks/run.py NAME [--model DIR] ...`.

A benchmark first checks that what it measures is right (its gate); when that fails there is no number.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from ea_app.api.job import find_model
from registry import BENCHMARKS
from report import RESULTS, GateError, write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 when every bar is reached, 1 when one is missed, 3 when the gate is red."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="name", required=True)
    for name, benchmark in BENCHMARKS.items():
        command = commands.add_parser(name, help=benchmark.about)
        if benchmark.of_a_model:
            command.add_argument("--model", default="default", help="as for ea-app [default: default]")
        command.add_argument("--result", type=Path, help="JSON to write [default: results/NAME.json]")
        import_module(benchmark.module).add_arguments(command)
    arguments = parser.parse_args(argv)
    benchmark = BENCHMARKS[arguments.name]
    model = find_model(arguments.model) if benchmark.of_a_model else None
    try:
        report = import_module(benchmark.module).run(arguments)
    except GateError as error:
        print(f"{arguments.name}: the gate is red, nothing was measured: {error}", file=sys.stderr)
        return 3
    path = arguments.result or RESULTS / f"{arguments.name}.json"
    facts = {"name": model.info.name, "fingerprint": model.fingerprint()} if model else {}
    return 0 if write_report(arguments.name, benchmark, report, facts, path) else 1


if __name__ == "__main__":
    sys.exit(main())
