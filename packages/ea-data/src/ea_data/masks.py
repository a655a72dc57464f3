"""Masks in pixel space: which pixels a model has to make (True) and which it is given (False).

All functions return bool arrays of shape (T, H, W); randomness comes from the generator that is passed in.
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MASK_KINDS",
    "Mask",
    "MaskKind",
    "all_mask",
    "box_mask",
    "ends_mask",
    "first_mask",
    "last_mask",
    "random_mask",
]

Mask = NDArray[np.bool_]
MaskKind = Literal["all", "first", "last", "ends", "box"]

MASK_KINDS: Final[tuple[MaskKind, ...]] = ("all", "first", "last", "ends", "box")


def all_mask(num_frames: int, height: int, width: int) -> Mask:
    """Everything is to be made: text to video."""
    _check(num_frames, height, width)
    return np.ones((num_frames, height, width), dtype=bool)


def first_mask(num_frames: int, height: int, width: int) -> Mask:
    """The first frame is given. A single frame is to be made, since nothing would be left to do."""
    mask = all_mask(num_frames, height, width)
    mask[0] = num_frames == 1
    return mask


def last_mask(num_frames: int, height: int, width: int) -> Mask:
    """The last frame is given; a single frame is to be made."""
    return first_mask(num_frames, height, width)[::-1].copy()


def ends_mask(num_frames: int, height: int, width: int) -> Mask:
    """First and last frame are given; with fewer than three frames, only the first."""
    mask = first_mask(num_frames, height, width)
    if num_frames >= 3:
        mask[-1] = False
    return mask


def box_mask(rng: np.random.Generator, num_frames: int, height: int, width: int) -> Mask:
    """One random box, the same in every frame, is to be made: a quarter to all of each side."""
    _check(num_frames, height, width)
    mask = np.zeros((num_frames, height, width), dtype=bool)
    box_height = int(rng.integers(max(1, height // 4), height + 1))
    box_width = int(rng.integers(max(1, width // 4), width + 1))
    top = int(rng.integers(0, height - box_height + 1))
    left = int(rng.integers(0, width - box_width + 1))
    mask[:, top : top + box_height, left : left + box_width] = True
    return mask


def random_mask(
    rng: np.random.Generator,
    num_frames: int,
    height: int,
    width: int,
    *,
    weights: tuple[float, float, float, float, float] = (0.4, 0.25, 0.1, 0.15, 0.1),
) -> tuple[MaskKind, Mask]:
    """Draw a kind of mask and the mask.

    Args:
        rng: Source of randomness.
        num_frames: T.
        height: H in pixels.
        width: W in pixels.
        weights: Relative frequency of each of `MASK_KINDS`.

    Returns:
        The kind and the mask (T, H, W).

    Raises:
        ValueError: A size below 1, or weights that are negative or all 0.
    """
    if len(weights) != len(MASK_KINDS) or min(weights) < 0 or sum(weights) <= 0:
        raise ValueError(f"weights are {weights}; allowed: {len(MASK_KINDS)} numbers of 0 or more, not all 0")
    kind = MASK_KINDS[int(rng.choice(len(MASK_KINDS), p=np.array(weights) / sum(weights)))]
    if kind == "box":
        return kind, box_mask(rng, num_frames, height, width)
    makers = {"all": all_mask, "first": first_mask, "last": last_mask, "ends": ends_mask}
    return kind, makers[kind](num_frames, height, width)


def _check(num_frames: int, height: int, width: int) -> None:
    if min(num_frames, height, width) < 1:
        raise ValueError(
            f"num_frames, height and width are {(num_frames, height, width)}; allowed: 1 or more"
        )
