"""Where a shape is at a moment of the clip: offset, scale and turn as functions of normalised time."""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_DIRECTIONS: Final[dict[str, tuple[int, int]]] = {
    "right": (1, 0),
    "left": (-1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "up-right": (1, -1),
    "up-left": (-1, -1),
    "down-right": (1, 1),
    "down-left": (-1, 1),
}
_SMALLEST_SCALE: Final = 0.5
_HOPS: Final = 2


class Pose(NamedTuple):
    """Per-frame pose; every array has one entry per frame.

    Attributes:
        dx: Horizontal offset from the anchor in short sides of the frame, right positive.
        dy: Vertical offset in short sides, down positive.
        scale: Size relative to the nominal size.
        angle: Clockwise turn in radians.
    """

    dx: Array
    dy: Array
    scale: Array
    angle: Array


def times(num_frames: int) -> Array:
    """Normalised times 0..1 of the frames; a single frame is the first moment of the clip."""
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}; allowed: 1 or more")
    return np.linspace(0.0, 1.0, num_frames) if num_frames > 1 else np.zeros(1)


def pose(motion: str, travel: float, time: Array) -> Pose:
    """Pose of a motion at the given times.

    Args:
        motion: One of `MOTIONS`.
        travel: Distance along each moving axis (or hop height) in short sides; for `spin` the turn
            in radians.
        time: Normalised times in 0..1.

    Raises:
        ValueError: The motion is unknown.
    """
    zero, one = np.zeros_like(time), np.ones_like(time)
    eased = time * time * (3 - 2 * time)
    if motion in _DIRECTIONS:
        right, down = _DIRECTIONS[motion]
        return Pose(eased * travel * right, eased * travel * down, one, zero)
    if motion == "grow":
        return Pose(zero, zero, _SMALLEST_SCALE + (1 - _SMALLEST_SCALE) * eased, zero)
    if motion == "shrink":
        return Pose(zero, zero, 1 - (1 - _SMALLEST_SCALE) * eased, zero)
    if motion == "spin":
        return Pose(zero, zero, one, eased * travel)
    if motion == "bounce":
        return Pose(zero, -travel * np.abs(np.sin(math.pi * _HOPS * time)), one, zero)
    if motion == "still":
        return Pose(zero, zero, one, zero)
    allowed = (*_DIRECTIONS, "grow", "shrink", "spin", "bounce", "still")
    raise ValueError(f"motion is {motion!r}; allowed: {', '.join(allowed)}")


def reach(motion: str, travel: float) -> tuple[float, float, float, float]:
    """Extremes (left, right, up, down) of the offset over the clip, in short sides, non-negative."""
    if motion in _DIRECTIONS:
        right, down = _DIRECTIONS[motion]
        return (
            travel * max(-right, 0),
            travel * max(right, 0),
            travel * max(-down, 0),
            travel * max(down, 0),
        )
    return (0.0, 0.0, travel if motion == "bounce" else 0.0, 0.0)
