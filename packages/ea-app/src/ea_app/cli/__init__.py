"""The command `ea-app`.

Modules that need torch or media libraries are imported by the command that runs, after its arguments are
known.
"""

import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from ea_app.cli.parser import build_parser
from ea_app.options import InputError

MISTAKE = 2
FAILURE = 1
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        Exit code: 0, 1 when something failed, 2 for a mistake of the user, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        parsed = build_parser().parse_args(arguments)
        return import_module(f"ea_app.cli.{parsed.command}").run(parsed)
    except InputError as error:
        return _report(str(error), MISTAKE, debug=debug)
    except KeyboardInterrupt:
        return _report("interrupted, nothing was written", INTERRUPTED, debug=debug)
    except MemoryError:
        return _report("not enough memory; try a smaller --size or fewer --frames", FAILURE, debug=debug)
    except OSError as error:
        return _report(error.strerror or str(error), FAILURE, debug=debug)
    except Exception as error:  # noqa: BLE001  (the outermost frame: a defect is one line too, its traceback on request)
        if "OutOfMemory" in type(error).__name__:
            return _report("not enough memory on the device; try a smaller --size", FAILURE, debug=debug)
        what = f"{type(error).__name__}: {error}"
        return _report(f"unexpected {what} (--debug shows where)", FAILURE, debug=debug)


def _report(message: str, code: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    label = "" if code == INTERRUPTED else "error: "
    print(f"ea-app: {label}{' '.join(message.split())}", file=sys.stderr)
    return code
