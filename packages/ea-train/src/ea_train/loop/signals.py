"""SIGTERM and SIGINT as a request that the loop looks at."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether somebody asked the run to stop; it finishes its step, saves and returns."""

    def __init__(self) -> None:
        self.made = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn SIGTERM and SIGINT into a request for the duration of the block."""
        if threading.current_thread() is not threading.main_thread():  # Python allows handlers only there
            yield
            return
        previous = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.made = True


def ignore_signals(worker: int = 0) -> None:
    """For processes that make batches: the one that they work for decides when they end.

    Ctrl-C reaches the whole process group; a worker that dies of it would take what is finished along.
    """
    del worker
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)
