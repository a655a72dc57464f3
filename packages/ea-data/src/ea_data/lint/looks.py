"""What a file looks like, in few bytes: for stillness, blankness and copies.

Shapes: N samples, all of them reduced to 64x64 RGB, whatever their proportions were.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["PRINT_FRAMES", "PRINT_SIDE", "SIDE", "Looks", "Motion", "looks_of", "reduced"]

SIDE: Final = 64
PRINT_SIDE: Final = 8
PRINT_FRAMES: Final = 3
_MOTION_SIDE, _COLOUR_SIDE = 16, 32
_LEFT_OUT: Final = 1.0
"""Percent of a frame, at both ends of its values, that may be of another colour: a small logo on black."""
_STILL: Final = 4.0
"""Of 255: what coding and a little noise change in a frame that stays."""
_ONE_COLOUR: Final = 6.0


@dataclass(frozen=True, slots=True)
class Looks:
    """What is kept of a file's frames.

    Attributes:
        print: `PRINT_FRAMES` frames (first, middle, last) of 8x8 RGB, as 576 bytes.
        motion: Largest change of a part (16 by 16 make a frame) against the first frame, 0 to 255.
        contrast: Largest range of values within a sampled frame, 0 to 255.
        colour: Mean (red, green, blue) of all samples.
    """

    print: bytes
    motion: float
    contrast: float
    colour: tuple[int, int, int]

    @property
    def is_still(self) -> bool:
        """Whether no part of a frame changes by more than coding changes it."""
        return self.motion <= _STILL

    @property
    def is_blank(self) -> bool:
        """Whether all frames are of one colour each."""
        return self.contrast <= _ONE_COLOUR


class Motion:
    """The largest change against the first of several frames, one after the other."""

    def __init__(self) -> None:
        self._first: NDArray[np.float32] | None = None
        self.largest = 0.0

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Look at a frame (64, 64, 3)."""
        blocks = _blocks(frame[None], _MOTION_SIDE)[0]
        if self._first is None:
            self._first = blocks
        self.largest = max(self.largest, float(np.abs(blocks - self._first).max()))


def reduced(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame (H, W, 3) as (64, 64, 3)."""
    return np.array(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BOX))


def looks_of(samples: NDArray[np.uint8], motion: float | None = None) -> Looks:
    """What is kept of samples (N, 64, 64, 3).

    Args:
        samples: One or more, from the first frame to the last.
        motion: That of all frames, if all were looked at; otherwise that of the samples.
    """
    if motion is None:
        seen = Motion()
        for sample in samples:
            seen.add(sample)
        motion = seen.largest
    places = np.linspace(0, len(samples) - 1, PRINT_FRAMES).round().astype(int)
    prints = np.rint(_blocks(samples[places], PRINT_SIDE)).astype(np.uint8)
    values = _blocks(samples, _COLOUR_SIDE).reshape(len(samples), -1, 3)
    low, high = np.percentile(values, [_LEFT_OUT, 100 - _LEFT_OUT], axis=1)
    red, green, blue = np.rint(samples.mean(axis=(0, 1, 2))).astype(int).tolist()
    return Looks(prints.tobytes(), motion, float((high - low).max()), (red, green, blue))


def _blocks(frames: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Means of the blocks of frames (N, 64, 64, 3), as (N, side, side, 3)."""
    step = SIDE // side
    return frames.reshape(len(frames), side, step, side, step, 3).mean(axis=(2, 4), dtype=np.float32)
