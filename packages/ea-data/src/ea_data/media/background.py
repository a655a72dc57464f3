"""Handing frames to a writer while the next ones are made."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.media.writer import VideoWriter

__all__ = ["BackgroundWriter", "in_background"]

_MOST_WAITING: Final = 2


class BackgroundWriter:
    """Adds frames to a writer in one thread; comes from `in_background`.

    Args:
        writer: Nothing else uses it meanwhile.
        thread: A pool of one.
    """

    def __init__(self, writer: VideoWriter, thread: ThreadPoolExecutor) -> None:
        self._writer, self._thread = writer, thread
        self._waiting: deque[Future[None]] = deque()
        self._stopped = False

    def add(self, frames: NDArray[np.uint8]) -> None:
        """Hand over frames, and wait while more than two portions are not written.

        Args:
            frames: Shape (T, H, W, 3), sRGB 0..255; not to be changed until the block has ended.

        Raises:
            MediaError: A portion before, or this one, cannot be written.
        """
        self._settle(_MOST_WAITING)
        self._waiting.append(self._thread.submit(self._write, frames))

    def finish(self) -> None:
        """Wait for all frames.

        Raises:
            MediaError: Some cannot be written.
        """
        self._settle(0)

    def stop(self) -> None:
        """Write nothing more; the frame that is being written is the last. Returns when it is."""
        self._stopped = True
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _settle(self, most: int) -> None:
        """Wait until no more than so many portions are left, and raise what went wrong in the others."""
        while self._waiting and (len(self._waiting) > most or self._waiting[0].done()):
            self._waiting.popleft().result()

    def _write(self, frames: NDArray[np.uint8]) -> None:
        for frame in frames:
            if self._stopped:
                return
            self._writer.add(frame)


@contextmanager
def in_background(writer: VideoWriter) -> Iterator[BackgroundWriter]:
    """Write in a thread: a block in which `add` hands frames over and returns before they are written.

    Encoders work outside of the interpreter, so that the caller goes on meanwhile. All frames are written
    when the block ends without an error; after an error the thread ends with the frame that it has.

    Args:
        writer: From `open_writer`, whose block is around this one.

    Raises:
        MediaError: Frames cannot be written; from the next `add`, or at the end.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ea-writer") as thread:
        background = BackgroundWriter(writer, thread)
        try:
            yield background
            background.finish()
        finally:
            background.stop()
