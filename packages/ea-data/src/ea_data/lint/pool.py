"""Looking into many files at once, each in its time, in processes that may die."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as TooLong
from functools import partial
from multiprocessing import connection, get_context, parent_process
from typing import Final

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from ea_data.lint.inspection import FileFacts, FileKey, inspect_file
from ea_data.media import Limits

__all__ = ["inspect_files"]

_AHEAD: Final = 4
_TASKS: Final = 500
"""Files of one process before it is replaced: decoders that leak stay bounded."""


def inspect_files(
    files: Sequence[FileKey],
    limits: Limits,
    *,
    deep: bool,
    timeout: float,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[FileFacts]:
    """Look into files, in other processes.

    A file that takes too long has its process ended, and one that ends its process (a crash of a decoder, too
    little memory) costs no other file. Interrupted, no process is left.

    Args:
        files: With what they are used as.
        limits: Bounds of what is read.
        deep: See `inspect_file`.
        timeout: Seconds for each file.
        workers: Processes.
        progress: Is told how many are done, and how many there are.

    Returns:
        What was found, in the order of `files`.
    """
    found = []
    for facts in _all(
        files, partial(inspect_file, limits=limits, deep=deep), timeout, min(workers, len(files))
    ):
        found.append(facts)
        if progress is not None:
            progress(len(found), len(files))
    return found


def _all(
    files: Sequence[FileKey], look: Callable[..., FileFacts], timeout: float, workers: int
) -> Iterator[FileFacts]:
    if not files:
        return
    # Spawned: forks of a process with threads can hang.
    pool = ProcessPool(
        max_workers=workers, max_tasks=_TASKS, context=get_context("spawn"), initializer=_begin_worker
    )
    waiting: deque[ProcessFuture] = deque()
    try:
        # A few files ahead of the processes, so that a list of millions is not queued.
        for file in files:
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


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
