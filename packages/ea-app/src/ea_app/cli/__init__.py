"""The command `ea-app`.

Modules are imported inside `main`: an interruption while they load is one line like any other, and those that
need torch or media libraries come with the command that runs, after its arguments are known.
"""

import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

MISTAKE = 2
FAILURE = 1
INTERRUPTED = 130
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """The process was asked to end, with the signal that `kill` and service managers send."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        Exit code: 0, 1 when something failed, 2 for a mistake of the user, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        return _run(arguments)
    except Terminated:
        return _report("terminated, nothing was written", TERMINATED, debug=debug)
    except KeyboardInterrupt:
        return _report("interrupted, nothing was written", INTERRUPTED, debug=debug)
    except MemoryError:
        return _report("not enough memory; try a smaller --size or fewer --frames", FAILURE, debug=debug)
    except OSError as error:
        place = f"{error.filename}: " if error.filename and error.strerror else ""
        return _report(f"{place}{error.strerror or error}", FAILURE, debug=debug)
    except Exception as error:  # noqa: BLE001  (the outermost frame: a defect is one line too, its traceback on request)
        from ea_app.options import InputError

        if isinstance(error, InputError):
            return _report(str(error), MISTAKE, debug=debug)
        if "OutOfMemory" in type(error).__name__:
            return _report("not enough memory on the device; try a smaller --size", FAILURE, debug=debug)
        what = f"{type(error).__name__}: {error}"
        return _report(f"unexpected {what} (--debug shows where)", FAILURE, debug=debug)


def _run(arguments: list[str]) -> int:
    import signal
    import threading
    from importlib import import_module

    from ea_app.cli.parser import build_parser

    if not arguments and _at_a_terminal():
        arguments = ["ui", "--open"]
    parsed = build_parser().parse_args(arguments)
    command = import_module(f"ea_app.cli.{parsed.command}")
    if threading.current_thread() is not threading.main_thread():  # only that one may listen to signals
        return command.run(parsed)
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        return command.run(parsed)
    finally:
        signal.signal(signal.SIGTERM, before)


def _at_a_terminal() -> bool:
    """Whether a person has called, and not a script."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _report(message: str, code: int, *, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    label = "" if code in (INTERRUPTED, TERMINATED) else "error: "
    print(f"ea-app: {label}{' '.join(message.split())}", file=sys.stderr)
    return code
