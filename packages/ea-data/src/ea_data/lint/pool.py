"""Looking into many files at once, each in its time, in processes that may die."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as TooLong
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process, resource_tracker
from pathlib import Path
from typing import Final

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from ea_data.lint.inspection import FileFacts, FileKey, Kind

__all__ = ["inspect_files"]

_AHEAD: Final = 4
_TASKS: Final = 500
"""Files of one process before it is replaced: decoders that leak stay bounded."""


def inspect_files(
    files: Sequence[FileKey],
    look: Callable[[Path, Kind], FileFacts],
    *,
    timeout: float,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[FileFacts]:
    """Look into files, in other processes.

    A file that takes too long has its process ended, and one that ends its process (a crash of a decoder, too
    little memory) costs no other file. Interrupted, no process is left.

    Args:
        files: With what they are used as.
        look: What is done with each, such as `inspect_file` with its other arguments; importable by name.
        timeout: Seconds for each file.
        workers: Processes.
        progress: Is told how many are done, and how many there are.

    Returns:
        What was found, in the order of `files`.
    """
    found = []
    for facts in _all(files, look, timeout, min(workers, len(files))):
        found.append(facts)
        if progress is not None:
            progress(len(found), len(files))
    return found


def _all(
    files: Sequence[FileKey], look: Callable[[Path, Kind], FileFacts], timeout: float, workers: int
) -> Iterator[FileFacts]:
    if not files:
        return
    # Spawned: forks of a process with threads can hang.
    pool = ProcessPool(
        max_workers=workers, max_tasks=_TASKS, context=get_context("spawn"), initializer=_begin_worker
    )
    waiting: deque[ProcessFuture] = deque()
    try:
        # Threads that start processes begin with the first file.
        with _interrupts_held():
            waiting.append(pool.schedule(look, args=files[0], timeout=timeout))
        # A few files ahead of the processes, so that a list of millions is not queued.
        for file in files[1:]:
            waiting.append(pool.schedule(look, args=file, timeout=timeout))
            if len(waiting) > _AHEAD * workers:
                yield _result(waiting.popleft(), timeout)
        while waiting:
            yield _result(waiting.popleft(), timeout)
    finally:
        pool.stop()
        pool.join()


def _result(future: ProcessFuture, timeout: float) -> FileFacts:
    try:
        return future.result()
    except TooLong:
        return FileFacts(problem="timeout", message=f"reading took more than {timeout:g} s")
    except ProcessExpired as error:
        return FileFacts(problem="timeout", message=f"reading ended its process (exit code {error.exitcode})")


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


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
