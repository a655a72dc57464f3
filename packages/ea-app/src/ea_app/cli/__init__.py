"""The command `ea-app`.

Modules are imported inside `main`: an interruption while they load is one line like any other, and those that
need torch or media libraries come with the command that runs, after its arguments are known.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

MISTAKE = 2
FAILURE = 1
INTERRUPTED = 130
SIGNALLED = 128
"""Plus the number of the signal, as shells say it."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end: by `kill`, a service manager, or a terminal that was closed.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = SIGNALLED + number


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        Exit code: 0, 1 when something failed, 2 for a mistake of the user, 130 after Ctrl-C, 143 after
        SIGTERM, 129 after SIGHUP.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        return _run(arguments)
    except Terminated as signalled:
        return _report("terminated, nothing was written", signalled.code, debug=debug)
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
    import threading
    from importlib import import_module

    from ea_app.cli.parser import build_parser

    if not arguments and _at_a_terminal():
        arguments = ["ui", "--open"]
    parsed = build_parser().parse_args(arguments)
    command = import_module(f"ea_app.cli.{parsed.command}")
    if threading.current_thread() is not threading.main_thread():  # only that one may listen to signals
        return command.run(parsed)
    with _ending_in_order():
        return command.run(parsed)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let what is begun be removed when the process is asked to end."""
    import signal

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, _terminate)}
    hung_up = getattr(signal, "SIGHUP", None)  # Windows has none
    if hung_up is not None and signal.getsignal(hung_up) == signal.SIG_DFL:  # `nohup` has it ignored
        before[hung_up] = signal.signal(hung_up, _terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _at_a_terminal() -> bool:
    """Whether a person has called, and not a script."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated(number)


def _report(message: str, code: int, *, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    label = "" if code > SIGNALLED else "error: "
    print(f"ea-app: {label}{' '.join(message.split())}", file=sys.stderr)
    return code
