"""Naming a motion from where an object was, how large, and how it was turned."""

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ea_data.synthetic.judge.silhouette import SYMMETRY

Float = NDArray[np.float32]

_OCTANTS: Final = ("right", "down-right", "down", "down-left", "left", "up-left", "up", "up-right")
# How much of each motion counts as the whole of it, in the units of the evidence.
_FULL_TRAVEL: Final = 0.36
_FULL_HOP: Final = 0.32
_FULL_SCALE: Final = math.log(2.0)
_FULL_TURN: Final = math.radians(115)
_ENOUGH: Final = 0.38


class Track(NamedTuple):
    """One object over time, frames where it was not seen left out.

    Attributes:
        x: Turning point in short sides of the frame, right positive.
        y: Turning point, down positive.
        radius: Radius of the disc of equal area, in short sides.
        angle: Clockwise turn in radians, known up to the symmetry of the shape.
    """

    x: Float
    y: Float
    radius: Float
    angle: Float


def turned(angle: Float, symmetry: int) -> float:
    """Net clockwise turn in radians of a track whose angles are known modulo 2 pi / symmetry."""
    if symmetry == 0 or len(angle) < 2:
        return 0.0
    period = 2 * math.pi / symmetry
    steps = np.diff(angle)
    return float((steps - period * np.round(steps / period)).sum())


def _ends(values: Float) -> tuple[float, float]:
    count = 2 if len(values) >= 9 else 1
    return float(values[:count].mean()), float(values[-count:].mean())


def name_motion(track: Track, shape: str) -> tuple[str, float]:
    """Name the motion of a track.

    Returns:
        One of `MOTIONS`, and a confidence in 0..1.
    """
    (x0, x1), (y0, y1) = _ends(track.x), _ends(track.y)
    dx, dy = x1 - x0, y1 - y0
    small, large = _ends(track.radius)
    growth = math.log(max(large, 1e-6) / max(small, 1e-6))
    turn = turned(track.angle, SYMMETRY[shape])
    hop = float(np.ptp(track.y)) - abs(dy)
    octant = _OCTANTS[round(math.atan2(dy, dx) / (math.pi / 4)) % 8]
    evidence = {
        octant: math.hypot(dx, dy) / _FULL_TRAVEL,
        "bounce": hop / _FULL_HOP,
        "grow": growth / _FULL_SCALE,
        "shrink": -growth / _FULL_SCALE,
        "spin": abs(turn) / _FULL_TURN,
    }
    ranked = sorted(evidence.items(), key=lambda item: -item[1])
    (name, best), (_, second) = ranked[0], ranked[1]
    if best < _ENOUGH:
        return "still", min(1.0, 1 - best)
    return name, float(np.clip(1 - max(second, _ENOUGH / 2) / best, 0, 1))
