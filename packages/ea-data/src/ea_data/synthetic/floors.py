"""Backgrounds with a pattern without end, on which the move of a camera is seen.

Shapes: T frames, H and W pixels.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.synthetic.scene import BackgroundSpec
from ea_data.synthetic.view import Coordinates, View
from ea_data.synthetic.vocabulary import BACKGROUNDS, Rgb

__all__ = ["FLOOR_KINDS", "FloorSpec", "floor_tones"]

FLOOR_KINDS: Final = ("checkered", "dotted")
_DOT: Final = 0.27


@dataclass(frozen=True, kw_only=True)
class FloorSpec:
    """A pattern of two tones of one colour.

    Attributes:
        kind: One of `FLOOR_KINDS`.
        colour: One of `BACKGROUNDS`.
        angle: How the pattern is turned, clockwise, radians.
        period: From a square or dot to the next one of the same tone, in short sides of the frame.
        phase: Shift of the pattern along its two directions, in periods.
    """

    kind: str
    colour: str
    angle: float = 0.0
    period: float = 0.25
    phase: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if self.kind not in FLOOR_KINDS:
            raise ValueError(f"floor kind is {self.kind!r}; allowed: {', '.join(FLOOR_KINDS)}")
        if self.colour not in BACKGROUNDS:
            raise ValueError(f"floor colour is {self.colour!r}; allowed: {', '.join(BACKGROUNDS)}")
        if not 0.05 <= self.period <= 1:
            raise ValueError(f"period is {self.period}; allowed: 0.05 to 1 of the short side")

    @property
    def rgb(self) -> tuple[Rgb, Rgb]:
        """The two tones; they differ as those of a striped background."""
        return BackgroundSpec(kind="striped", colours=(self.colour,)).rgb


def floor_tones(spec: FloorSpec, view: View, height: int, width: int) -> NDArray[np.float32]:
    """Share of the second tone in every pixel, (T, H, W), 0..1."""
    short = min(height, width)
    x, y = np.arange(width)[None, :] + 0.5, np.arange(height)[:, None] + 0.5
    cosine, sine = np.cos(spec.angle), np.sin(spec.angle)
    tones = np.empty((len(view.scale), height, width), np.float32)
    for frame in range(len(tones)):
        right, down = view.to_first(frame, x, y)
        right, down = (right - view.centre[0]) / short, (down - view.centre[1]) / short
        along = (cosine * right + sine * down) / spec.period + spec.phase[0]
        across = (cosine * down - sine * right) / spec.period + spec.phase[1]
        tones[frame] = _tone(spec.kind, along, across, spec.period * short * view.scale[frame])
    return tones


def _tone(kind: str, along: Coordinates, across: Coordinates, pixels: float) -> Coordinates:
    """The pattern at places in periods; `pixels` are one period."""
    from_middle = [np.abs(np.mod(place, 1.0) - 0.5) for place in (along, across)]
    if kind == "dotted":
        return np.clip(0.5 - (np.hypot(*from_middle) - _DOT) * pixels, 0, 1)
    first, second = (np.clip((0.25 - place) * pixels, -0.5, 0.5) for place in from_middle)
    return 0.5 + 2 * first * second
