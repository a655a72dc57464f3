"""`python -m benchmarks run NAME ...` or `python -m benchmarks run --suite cpu --against diffusers`."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # the benchmarks import each other as scripts do

import run
import suite


def main() -> int:
    """Exit code as of `run.py` and `suite.py`."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["run"] and any(argument.startswith("--suite") for argument in arguments):
        parser = argparse.ArgumentParser(prog="python -m benchmarks run", description=suite.__doc__)
        suite.add_arguments(parser)
        return suite.run(parser.parse_args(arguments[1:]))
    if arguments[:1] != ["run"]:
        print(__doc__, file=sys.stderr)
        return 2
    return run.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main())
