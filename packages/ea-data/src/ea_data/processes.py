"""Many independent calls, each in its time, in processes that may die."""

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as TooLong
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from ea_data.workers import begin_worker

__all__ = ["Processes", "calls_in_order", "terminated_in_order"]

ResultT = TypeVar("ResultT")

_AHEAD: Final = 4
_TASKS: Final = 500
"""Calls of one process before it is replaced: decoders that leak stay bounded."""


class Processes:
    """Processes that are started with the first call and stay for further ones; use it in a `with` block.

    Args:
        workers: Processes, 1 or more.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, whatever they are at."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None

    def calls(
        self,
        work: Callable[..., ResultT],
        arguments: Sequence[tuple[Any, ...]],
        *,
        lost: Callable[[str], ResultT],
        timeout: float,
    ) -> Iterator[ResultT]:
        """Call a function with each of many arguments.

        A call that takes too long has its process ended, and one that ends its process (a crash of a decoder,
        too little memory) costs no other call.

        Args:
            work: Importable by name.
            arguments: Of each call.
            lost: Makes the result of a call that was lost, of words that go on "reading ...".
            timeout: Seconds for each call.

        Yields:
            Results, in the order of `arguments`.
        """
        waiting: deque[ProcessFuture] = deque()
        # A few calls ahead of the processes, so that a list of millions is not queued.
        for each in arguments:
            waiting.append(self._schedule(work, each, timeout))
            if len(waiting) > _AHEAD * self._workers:
                yield _result(waiting.popleft(), lost, timeout)
        while waiting:
            yield _result(waiting.popleft(), lost, timeout)

    def _schedule(self, work: Callable[..., Any], each: tuple[Any, ...], timeout: float) -> ProcessFuture:
        if self._pool is not None:
            return self._pool.schedule(work, args=each, timeout=timeout)
        # Spawned: forks of a process with threads can hang.
        self._pool = pool = ProcessPool(
            max_workers=self._workers,
            max_tasks=_TASKS,
            context=get_context("spawn"),
            initializer=begin_worker,
        )
        # Threads that start processes begin with the first call.
        with _interrupts_held():
            return pool.schedule(work, args=each, timeout=timeout)


def calls_in_order(
    work: Callable[..., ResultT],
    arguments: Sequence[tuple[Any, ...]],
    *,
    lost: Callable[[str], ResultT],
    timeout: float,
    workers: int,
) -> Iterator[ResultT]:
    """Call a function with each of many arguments, in other processes; see `Processes.calls`.

    Interrupted, no process is left.
    """
    with Processes(min(workers, max(1, len(arguments)))) as processes:
        yield from processes.calls(work, arguments, lost=lost, timeout=timeout)


@contextmanager
def terminated_in_order() -> Iterator[None]:
    """Let SIGTERM end what is at work as Ctrl-C does: the processes that read files first."""
    if threading.current_thread() is not threading.main_thread():  # where no handler can be set
        yield
        return

    def end(number: int, frame: object) -> NoReturn:
        del frame
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _result(future: ProcessFuture, lost: Callable[[str], ResultT], timeout: float) -> ResultT:
    try:
        return future.result()
    except TooLong:
        return lost(f"took more than {timeout:g} s")
    except ProcessExpired as error:
        return lost(f"ended its process (exit code {error.exitcode})")


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let threads that begin here, and their processes, never see Ctrl-C, not even while they start."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # which would end what follows when it starts with the first process
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
