"""Videos as the stages read them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.media import Limits, VideoReader, read_image

__all__ = ["LIMITS", "Pixels", "grey", "load_cv2", "opened", "sampled", "scaled"]

Pixels = NDArray[np.uint8]

LIMITS: Final = Limits(max_frames=1 << 20, max_seconds=24 * 3600.0, max_bytes=1 << 40)
"""Raw footage may be long; nothing holds more than some of its frames."""


def load_cv2() -> Any:
    """OpenCV, in one thread: there are other processes.

    Raises:
        MissingExtraError: It is not installed.
    """
    cv2 = load("cv2", extra="curation")
    cv2.setNumThreads(1)
    return cv2


@contextmanager
def opened(path: Path) -> Iterator[VideoReader]:
    """A video, decoded by one thread.

    Raises:
        MediaError: It cannot be read.
    """
    with VideoReader(path, limits=LIMITS, threads=1) as reader:
        yield reader


def sampled(path: Path, kind: str, count: int) -> Pixels:
    """Frames (N, H, W, 3) at equal distances, the first and the last among them; the picture of a picture.

    Raises:
        MediaError: It cannot be read.
    """
    if kind == "image":
        return read_image(path)[None]
    with opened(path) as reader:
        return reader.read(np.unique(np.linspace(0, len(reader) - 1, count).round().astype(np.int64)))


def scaled(frame: Pixels, most: int) -> Pixels:
    """A frame (H, W, 3) or (H, W) whose longer side is at most so many pixels."""
    height, width = frame.shape[:2]
    factor = most / max(height, width)
    if factor >= 1:
        return frame
    cv2 = load_cv2()
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def grey(frame: Pixels) -> Pixels:
    """Luma (H, W) of a frame (H, W, 3)."""
    cv2 = load_cv2()
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
