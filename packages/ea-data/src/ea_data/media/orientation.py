"""How a stored frame is turned, mirrored and stretched before it is shown."""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from numpy.typing import NDArray

__all__ = ["Box", "Orientation", "OrientationOf", "shown_width"]

Box = tuple[int, int, int, int]
"""(top, left, height, width) in pixels."""

_MATRIX: Final = struct.Struct("=9i")
_MAX_STRETCH: Final = 8


@dataclass(frozen=True)
class Orientation:
    """A mirror image from left to right, and then quarter turns.

    Attributes:
        turns: Counter-clockwise quarter turns, 0 to 3.
        mirrored: Whether the stored picture is mirrored first.
    """

    turns: int = 0
    mirrored: bool = False

    @property
    def swaps(self) -> bool:
        """Whether height and width change places."""
        return self.turns % 2 == 1

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A view (H, W, 3) or (W, H, 3) of a stored picture as it is shown."""
        return np.rot90(picture[:, ::-1] if self.mirrored else picture, self.turns)

    def stored_box(self, box: Box, height: int, width: int) -> Box:
        """Where a (top, left, height, width) of the shown picture lies in the stored one.

        Args:
            box: In pixels of the shown picture.
            height: Of the stored picture.
            width: Of the stored picture.
        """
        top, left, tall, wide = box
        if self.turns == 1:
            top, left, tall, wide = left, width - top - tall, wide, tall
        elif self.turns == 2:
            top, left = height - top - tall, width - left - wide
        elif self.turns == 3:
            top, left, tall, wide = height - left - wide, top, wide, tall
        return top, width - left - wide if self.mirrored else left, tall, wide


class OrientationOf:
    """What the display matrix of a frame says, to the nearest quarter turn.

    Looking at the side data of a frame makes PyAV keep the frame until the next collection of cycles, so only
    one is looked at for as long as the angle stays.
    """

    def __init__(self) -> None:
        self._angle: int | None = None
        self._found = Orientation()

    def __call__(self, frame: av.VideoFrame) -> Orientation:
        """The orientation of a frame."""
        if frame.rotation != self._angle:
            self._angle, self._found = frame.rotation, _of_side_data(frame)
        return self._found


def _of_side_data(frame: av.VideoFrame) -> Orientation:
    entries = cast("SideDataContainer", frame.side_data)  # PyAV's own annotation names no buffers
    for place in range(len(entries)):
        entry = entries[place]
        if entry.type is not Type.DISPLAYMATRIX or entry.buffer_size < _MATRIX.size:
            continue
        a, b, _, c, d, *_ = _MATRIX.unpack_from(bytes(entry))
        mirrored = a * d - b * c < 0
        if mirrored:  # the mirror goes first: take it out of the matrix
            a, b = -a, -b
        # (a, b) is where the right-hand direction of the stored picture points to; y goes down.
        return Orientation(round(math.degrees(math.atan2(-b, a)) / 90) % 4, mirrored)
    return Orientation()


def shown_width(width: int, aspect: Fraction | None) -> int:
    """Width of a stored picture whose pixels have been made square."""
    if not aspect or aspect <= 0 or aspect == 1:
        return width
    return max(1, min(round(width * aspect), _MAX_STRETCH * width))
