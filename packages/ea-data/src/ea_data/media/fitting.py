"""Decoded frames to RGB pictures of one size: cropped, scaled and converted by FFmpeg's filters."""

from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

from ea_data.media.errors import MediaError
from ea_data.media.limits import MAX_SIDE
from ea_data.media.orientation import Box, Orientation, orientation_of, shown_width

__all__ = ["FrameFitter", "check_size", "to_rgb"]

_RGB: Final = "rgb24"
# Scaling inside 4:2:0 and converting afterwards takes half the time of doing both at once; other formats keep
# more colour and are converted while they are scaled.
_SCALED_FIRST: Final = ("yuv420p", "yuvj420p")


class FrameFitter:
    """Writes frames of one video into arrays of one size.

    The filters are set up for the first frame and again when a frame has another size or format.

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
        self._graph: Graph | None = None
        self._setup: tuple[int, int, str, Orientation] | None = None

    def result_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """(height, width) that a frame is brought to.

        Raises:
            MediaError: The crop leaves the picture.
        """
        if self._size is not None:
            return self._size
        _, _, height, width = self._box(frame, orientation_of(frame))
        return height, width

    def write(self, frame: av.VideoFrame, result: NDArray[np.uint8]) -> None:
        """Bring a frame to the size of `result` (H, W, 3) and write it there: one pass of scaling, one copy.

        Raises:
            MediaError: The crop leaves the picture.
        """
        orientation = orientation_of(frame)
        setup = (frame.height, frame.width, frame.format.name, orientation)
        if self._graph is None or setup != self._setup:
            self._graph, self._setup = self._build(frame, orientation, result.shape[:2]), setup
        self._graph.vpush(frame)
        fitted = self._graph.vpull()
        assert isinstance(fitted, av.VideoFrame)
        result[:] = orientation.apply(_pixels(fitted))

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

    def _build(self, frame: av.VideoFrame, orientation: Orientation, size: tuple[int, ...]) -> Graph:
        square = shown_width(frame.width, self._aspect)
        top, left, tall, wide = orientation.stored_box(self._box(frame, orientation), frame.height, square)
        left, wide = left * frame.width // square, max(1, round(wide * frame.width / square))
        height, width = size[::-1] if orientation.swaps else size
        graph = Graph()
        nodes = [
            graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=frame.time_base or Fraction(1, 1000),
            )
        ]
        if (top, left, tall, wide) != (0, 0, frame.height, frame.width):
            nodes.append(graph.add("crop", f"w={wide}:h={tall}:x={left}:y={top}"))
        nodes.append(graph.add("scale", f"w={width}:h={height}:flags=bicubic"))
        if frame.format.name in _SCALED_FIRST:
            nodes += [graph.add("format", frame.format.name), graph.add("scale", f"w={width}:h={height}")]
        nodes += [graph.add("format", _RGB), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
        return graph


def to_rgb(frame: av.VideoFrame, aspect: Fraction | None) -> NDArray[np.uint8]:
    """A whole frame (H, W, 3), upright and with square pixels."""
    rgb = frame.reformat(width=shown_width(frame.width, aspect), format=_RGB)
    return np.ascontiguousarray(orientation_of(frame).apply(_pixels(rgb))).copy()


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
    rows = np.frombuffer(plane, np.uint8)[: plane.line_size * frame.height].reshape(frame.height, -1)
    return rows[:, : frame.width * 3].reshape(frame.height, frame.width, 3)


def _centred(height: int, width: int, tall: int, wide: int) -> Box:
    """The largest centred box of a picture with the proportions of a size."""
    scale = min(height / tall, width / wide)
    box_height, box_width = min(max(1, round(tall * scale)), height), min(max(1, round(wide * scale)), width)
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width
