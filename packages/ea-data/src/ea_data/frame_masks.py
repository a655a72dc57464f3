"""Which frames of a training clip are given and which are to be made, as Open-Sora 1.1 draws it.

Masks are bool arrays of shape (T): True where a frame is to be made, False where it is given. Randomness
comes from the `random.Random` that is passed in; with the same state it gives the masks of the released
program.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from random import Random
from types import MappingProxyType
from typing import Any, Final, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FRAME_MASK_KINDS",
    "RELEASED_RATIOS",
    "FrameMaskKind",
    "check_ratios",
    "frame_mask",
    "random_frame_mask",
]

FrameMaskKind = Literal[
    "mask_no",
    "mask_quarter_random",
    "mask_quarter_head",
    "mask_quarter_tail",
    "mask_quarter_head_tail",
    "mask_image_random",
    "mask_image_head",
    "mask_image_tail",
    "mask_image_head_tail",
]

FRAME_MASK_KINDS: Final[tuple[FrameMaskKind, ...]] = get_args(FrameMaskKind)
"""Under their released names: nothing is given, or a run of frames (up to a quarter of the clip, or a single
one) somewhere, at the head, at the tail, or as long at both."""

RELEASED_RATIOS: Final[Mapping[FrameMaskKind, float]] = MappingProxyType(
    {
        "mask_no": 0.75,
        "mask_quarter_random": 0.025,
        "mask_quarter_head": 0.025,
        "mask_quarter_tail": 0.025,
        "mask_quarter_head_tail": 0.05,
        "mask_image_random": 0.025,
        "mask_image_head": 0.025,
        "mask_image_tail": 0.025,
        "mask_image_head_tail": 0.05,
    }
)
"""How often each kind was drawn in all three stages of training."""

_SUM_TOLERANCE: Final = 1e-6


def random_frame_mask(
    rng: Random, frames: int, ratios: Mapping[FrameMaskKind, float] = RELEASED_RATIOS
) -> tuple[FrameMaskKind, NDArray[np.bool_]]:
    """Draw a kind of mask and the mask.

    Args:
        rng: Source of randomness; asked once for the kind, and up to twice for the mask.
        frames: T.
        ratios: How often each kind is drawn, in the order in which the kinds share the range of the draw.

    Returns:
        The kind and the mask (T). A single frame is to be made, whatever the kind.

    Raises:
        ValueError: No frame, or ratios that `check_ratios` refuses.
    """
    check_ratios(ratios)
    draw = rng.random()
    ends = list(accumulate(ratios.values()))
    # The last kind, where rounding ends the sum just below the draw.
    kind = tuple(ratios)[min(bisect_right(ends, draw), len(ends) - 1)]
    return kind, frame_mask(kind, rng, frames)


def frame_mask(kind: FrameMaskKind, rng: Random, frames: int) -> NDArray[np.bool_]:
    """Draw a mask of one kind.

    At least one frame is to be made: a clip of two frames is given its head only where both ends are asked
    for. A quarter is at least one frame. (The released program fails on these clips.)

    Args:
        kind: One of `FRAME_MASK_KINDS`.
        rng: Source of randomness.
        frames: T.

    Raises:
        ValueError: An unknown kind, or no frame.
    """
    if kind not in FRAME_MASK_KINDS:
        raise ValueError(f"the kind of mask is {kind!r}; allowed: {', '.join(FRAME_MASK_KINDS)}")
    if frames < 1:
        raise ValueError(f"frames is {frames}; allowed: 1 or more")
    mask = np.ones(frames, dtype=bool)
    if kind == "mask_no" or frames == 1:
        return mask
    _, size, place = kind.split("_", 2)
    length = 1 if size == "image" else rng.randint(1, max(1, frames // 4))
    start = rng.randint(0, frames - length) if place == "random" else 0
    if place != "tail":
        mask[start : start + length] = False
    if place == "tail" or (place == "head_tail" and frames > 2):
        mask[frames - length :] = False
    return mask


def check_ratios(ratios: Mapping[Any, float]) -> Mapping[FrameMaskKind, float]:
    """Check the ratios of a configuration and return them.

    Raises:
        ValueError: An unknown kind, a ratio outside 0 ... 1, or a sum other than 1.
    """
    for kind, ratio in ratios.items():
        if kind not in FRAME_MASK_KINDS:
            raise ValueError(f"mask ratios name {kind!r}; allowed: {', '.join(FRAME_MASK_KINDS)}")
        if not 0 <= ratio <= 1:
            raise ValueError(f"the ratio of {kind} is {ratio}; allowed: 0 to 1")
    if not math.isclose(sum(ratios.values()), 1, abs_tol=_SUM_TOLERANCE):
        raise ValueError(f"mask ratios sum to {sum(ratios.values()):g}; allowed: 1 in all")
    return cast("Mapping[FrameMaskKind, float]", ratios)
