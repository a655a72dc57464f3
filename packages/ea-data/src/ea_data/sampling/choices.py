"""Draws of one of a few values."""

from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ea_data.geometry.tokens import FrameGrid

__all__ = [
    "Choice",
    "frame_count_choice",
    "resolution_choice",
]

T = TypeVar("T")
_LONGEST: Final = 0.9
_FULL_SIZE: Final = 0.75


class Drawing(Protocol):
    """What a choice needs of a numpy generator."""

    def choice(self, a: int, /, *, p: NDArray[np.float64]) -> int:
        """One of 0 ... a - 1 with the probabilities p."""
        ...


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A draw of one of several values.

    Attributes:
        values: What can be drawn.
        probabilities: Of each, sum 1.
    """

    values: tuple[T, ...]
    probabilities: tuple[float, ...]

    def draw(self, rng: Drawing) -> T:
        """One of the values."""
        return self.values[int(rng.choice(len(self.values), p=np.array(self.probabilities)))]


def frame_count_choice(num_frames: int, grid: FrameGrid) -> Choice[int]:
    """Lengths of `random_frame_crop`: the longest in nine of ten draws, all others share the tenth."""
    lengths = grid.lengths(num_frames)
    return Choice(lengths, _one_and_others(len(lengths), len(lengths) - 1, _LONGEST))


def resolution_choice(sample_size: int, *others: float) -> Choice[float]:
    """By how much `random_hw_adapt` divides a resolution: not at all in three of four draws.

    Args:
        sample_size: The undivided side; the larger it is, the more it may be divided.
        others: Further factors; released training of images adds image size / video size.
    """
    if sample_size >= 1536:
        factors = [1.0, 1.25, 1.5, 2.0, 2.5, 3.0]
    elif sample_size >= 1024:
        factors = [1.0, 1.25, 1.5, 2.0]
    elif sample_size >= 768:
        factors = [1.0, 1.25, 1.5]
    else:
        factors = [1.0]
    if sample_size >= 512:
        factors += others
    return Choice(tuple(factors), _one_and_others(len(factors), 0, _FULL_SIZE))


def _one_and_others(count: int, preferred: int, probability: float) -> tuple[float, ...]:
    if count == 1:
        return (1.0,)
    return tuple(
        probability if index == preferred else (1 - probability) / (count - 1) for index in range(count)
    )
