"""Which pieces of a video become clips, by EasyAnimate's rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Piece", "plan_pieces"]

_DIGITS: Final = 6
"""Of seconds: borders come as decimals, and 16.49 - 6.49 is to be 10."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a video.

    Attributes:
        start: Seconds.
        seconds: Length.
        suffix: Of its name, such as "_3" or "_3_0".
    """

    start: float
    seconds: float
    suffix: str


def plan_pieces(
    duration: float,
    scenes: Sequence[tuple[float, float]],
    *,
    least: float = 3.0,
    most: float = 10.0,
    trim: float = 0.5,
) -> list[Piece]:
    """The clips of a video.

    A video of one scene is cut into pieces of `most` seconds from its beginning; what is left at the end is
    kept if it has `least` seconds. Of several scenes those shorter than `least` are left out; those longer
    than `most` are cut in the same way; all others lose `trim` seconds at their end, where a transition may
    be.

    Args:
        duration: Seconds of the video.
        scenes: Begin and end in seconds; empty, or one, for a video without a cut.
        least: Seconds.
        most: Seconds.
        trim: Seconds.
    """
    if len(scenes) < 2:
        return _pieces(0.0, duration, least, most, "")
    found: list[Piece] = []
    for number, (start, end) in enumerate(scenes):
        length = round(end - start, _DIGITS)
        if length > most:
            found += _pieces(start, length, least, most, f"_{number}")
        elif length >= least:
            found.append(Piece(start, round(length - trim, _DIGITS), f"_{number}"))
    return found


def _pieces(start: float, length: float, least: float, most: float, suffix: str) -> list[Piece]:
    found: list[Piece] = []
    left = round(length, _DIGITS)
    while left >= least:
        seconds = min(left, most)
        begin = round(start + len(found) * most, _DIGITS)
        found.append(Piece(begin, seconds, f"{suffix}_{len(found)}"))
        left = round(left - most, _DIGITS)
    return found
