"""Decoded frames to RGB pictures of one size: cropped, scaled and converted by FFmpeg."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from ea_data.media.errors import MediaError
from ea_data.media.limits import MAX_SIDE
from ea_data.media.orientation import Box, Orientation, OrientationOf, shown_width

__all__ = ["FrameFitter", "RgbConverter", "check_size", "in_background"]

_RGB: Final = "rgb24"
_AHEAD: Final = 2  # decoded frames that wait at most, as they may be large
_FILTER: Final = Interpolation.BILINEAR  # made wider when a picture gets smaller, so that nothing is aliased
# Scaling inside 4:2:0 and converting afterwards takes half the time of doing both at once; other formats keep
# more colour and are converted while they are scaled.
_SCALED_FIRST: Final = ("yuv420p", "yuvj420p")


class FrameFitter:
    """Writes frames of one video into arrays of one size.

    What cuts is set up for the first frame, and again when a frame has another size or format.

    Args:
        path: For messages.
        aspect: Width of a stored pixel over its height.
        size: (height, width) of the result; that of the crop, or of the frames, if None.
        crop: (top, left, height, width) of the upright picture with square pixels; if None the largest
            centred box with the proportions of `size`. Rounded to two pixels where colour is stored at half
            resolution.
    """

    def __init__(
        self, path: Path, aspect: Fraction | None, size: tuple[int, int] | None, crop: Box | None
    ) -> None:
        self._path, self._aspect = path, aspect
        self._size, self._crop = size, crop
        self._orientation_of = OrientationOf()
        self._cutter: Graph | None = None
        self._scaler, self._converter = VideoReformatter(), VideoReformatter()
        self._setup: tuple[int, int, str, Orientation] | None = None

    def result_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """(height, width) that a frame is brought to.

        Raises:
            MediaError: The crop leaves the picture.
        """
        if self._size is not None:
            return self._size
        _, _, height, width = self._box(frame, self._orientation_of(frame))
        return height, width

    def write(self, frame: av.VideoFrame, result: NDArray[np.uint8]) -> None:
        """Bring a frame to the size of `result` (H, W, 3) and write it there: one pass of scaling, one copy.

        Raises:
            MediaError: The crop leaves the picture.
        """
        orientation = self._orientation_of(frame)
        setup = (frame.height, frame.width, frame.format.name, orientation)
        if setup != self._setup:
            self._cutter, self._setup = self._cut(frame, orientation), setup
        if self._cutter is not None:
            self._cutter.vpush(frame)
            frame = self._cutter.vpull()
        height, width = result.shape[1::-1] if orientation.swaps else result.shape[:2]
        if frame.format.name in _SCALED_FIRST:
            frame = self._scaler.reformat(
                frame, width, height, frame.format.name, interpolation=_FILTER, threads=1
            )
        frame = self._converter.reformat(frame, width, height, _RGB, interpolation=_FILTER, threads=1)
        result[:] = orientation.apply(_pixels(frame))

    def _box(self, frame: av.VideoFrame, orientation: Orientation) -> Box:
        height, width = frame.height, shown_width(frame.width, self._aspect)
        if orientation.swaps:
            height, width = width, height
        if self._crop is None:
            return (0, 0, height, width) if self._size is None else _centred(height, width, *self._size)
        top, left, tall, wide = self._crop
        if min(top, left) < 0 or min(tall, wide) < 1 or top + tall > height or left + wide > width:
            raise MediaError(
                f"cannot read {self._path}: crop is {self._crop}; allowed: (top, left, height, width) within "
                f"height {height} and width {width}"
            )
        return self._crop

    def _cut(self, frame: av.VideoFrame, orientation: Orientation) -> Graph | None:
        """A filter that cuts the stored frame without copying it, None when all of it is wanted."""
        square = shown_width(frame.width, self._aspect)
        top, left, height, width = orientation.stored_box(self._box(frame, orientation), frame.height, square)
        left, width = left * frame.width // square, max(1, round(width * frame.width / square))
        if (top, left, height, width) == (0, 0, frame.height, frame.width):
            return None
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or Fraction(1, 1000),
        )
        cut = graph.add("crop", f"w={width}:h={height}:x={left}:y={top}")
        graph.link_nodes(source, cut, graph.add("buffersink")).configure()
        return graph


class RgbConverter:
    """Whole frames of one video as arrays.

    Args:
        aspect: Width of a stored pixel over its height.
    """

    def __init__(self, aspect: Fraction | None) -> None:
        self._aspect = aspect
        self._orientation_of = OrientationOf()
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Shape (H, W, 3), upright and with square pixels."""
        rgb = self._reformatter.reformat(frame, width=shown_width(frame.width, self._aspect), format=_RGB)
        return np.array(self._orientation_of(frame).apply(_pixels(rgb)), order="C")


def in_background(tasks: Iterable[Callable[[], None]]) -> None:
    """Run tasks one after the other in a thread, while the next ones are made here.

    FFmpeg and numpy let other threads run while they work, so that frames are fitted while the next ones are
    decoded. Only a few tasks, and with them frames, wait at any time.

    Raises:
        Exception: What a task raised first, or what making them did.
    """
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "ea-fit") as pool:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) > _AHEAD:
                waiting.popleft().result()
        while waiting:
            waiting.popleft().result()


def check_size(path: Path, size: tuple[int, int] | None) -> None:
    """Refuse a size before a file is opened.

    Raises:
        MediaError: A side below 1 or above 16384.
    """
    if size is not None and not all(1 <= side <= MAX_SIDE for side in size):
        raise MediaError(f"cannot read {path}: size is {size}; allowed: sides from 1 to {MAX_SIDE}")


def _pixels(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """A view (H, W, 3) of an rgb24 frame; it lives as long as the frame."""
    plane = frame.planes[0]
    rows = np.asarray(memoryview(plane))[: plane.line_size * frame.height].reshape(frame.height, -1)
    return rows[:, : frame.width * 3].reshape(frame.height, frame.width, 3)


def _centred(height: int, width: int, tall: int, wide: int) -> Box:
    """The largest centred box of a picture with the proportions of a size."""
    scale = min(height / tall, width / wide)
    box_height, box_width = min(max(1, round(tall * scale)), height), min(max(1, round(wide * scale)), width)
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width
