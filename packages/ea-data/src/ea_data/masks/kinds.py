"""Masks drawn at random, as inpainting models are trained with them.

Source of the ten released kinds and of their numbers: the training of EasyAnimate. Where a clip or a picture
is too small for a draw, so that released training fails or has nothing to make, the draw is limited instead.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from ea_data.masks.shapes import (
    Mask,
    Size,
    all_mask,
    box_mask,
    check_size,
    disc_mask,
    ellipse_mask,
    ends_mask,
    first_mask,
    last_mask,
)

__all__ = [
    "MASK_KINDS",
    "RELEASED_PICTURE_WEIGHTS",
    "RELEASED_WEIGHTS",
    "MaskKind",
    "draw_mask",
    "random_mask",
]

MaskKind = Literal[
    "all", "first", "last", "ends", "box",
    "box_anywhere", "first_few", "ends_few", "box_for_a_time", "pixels", "small_boxes",
    "ellipse", "disc", "frames",
]  # fmt: skip

_MOST_GIVEN: Final = 4


def _box(rng: np.random.Generator, size: Size) -> Mask:
    _, height, width = size
    rows = int(rng.integers(max(1, height // 4), height + 1))
    columns = int(rng.integers(max(1, width // 4), width + 1))
    top = int(rng.integers(0, height - rows + 1))
    left = int(rng.integers(0, width - columns + 1))
    return box_mask(size, top=top, left=left, height=rows, width=columns)


def _box_anywhere(rng: np.random.Generator, size: Size) -> Mask:
    _, height, width = size
    x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
    half_width, half_height = _half(rng, width), _half(rng, height)
    return box_mask(
        size, top=y - half_height, left=x - half_width, height=2 * half_height, width=2 * half_width
    )


def _half(rng: np.random.Generator, side: int) -> int:
    """Half of a length between a quarter and three quarters of a side."""
    quarter = max(1, side // 4)
    return max(1, int(rng.integers(quarter, 3 * quarter)) // 2)


def _box_for_a_time(rng: np.random.Generator, size: Size) -> Mask:
    mask, frames = _box_anywhere(rng, size), size[0]
    middle = max(1, frames // 2)
    mask[: int(rng.integers(0, middle))] = False
    mask[int(rng.integers(middle, max(frames, middle + 1))) :] = False
    return mask


def _pixels(rng: np.random.Generator, size: Size) -> Mask:
    return rng.integers(0, 2, size, dtype=bool)


def _small_boxes(rng: np.random.Generator, size: Size) -> Mask:
    frames, height, width = size
    mask = np.zeros(size, dtype=bool)
    count = int(rng.integers(1, max(frames // 2, 1) + 1))
    for frame in rng.choice(frames, count, replace=False):
        rows = int(rng.integers(1, max(height // 4, 1) + 1))
        columns = int(rng.integers(1, max(width // 4, 1) + 1))
        top = int(rng.integers(0, height - rows + 1))
        left = int(rng.integers(0, width - columns + 1))
        mask[frame, top : top + rows, left : left + columns] = True
    return mask


def _ellipse(rng: np.random.Generator, size: Size) -> Mask:
    x, y = int(rng.integers(0, size[2])), int(rng.integers(0, size[1]))
    across, down = _radius(rng, size), _radius(rng, size)
    return ellipse_mask(size, centre=(y, x), half_axes=(down, across))


def _disc(rng: np.random.Generator, size: Size) -> Mask:
    x, y = int(rng.integers(0, size[2])), int(rng.integers(0, size[1]))
    return disc_mask(size, centre=(y, x), radius=_radius(rng, size))


def _radius(rng: np.random.Generator, size: Size) -> int:
    short = min(size[1:])
    least = max(short // 8, 1)
    return int(rng.integers(least, max(short // 4, least + 1)))


def _frames(rng: np.random.Generator, size: Size) -> Mask:
    chosen = rng.random(size[0]) > 0.5
    return np.broadcast_to(chosen[:, None, None], size).copy()


def _some(rng: np.random.Generator) -> int:
    return int(rng.integers(1, _MOST_GIVEN + 1))


MASK_KINDS: Final[Mapping[MaskKind, Callable[[np.random.Generator, Size], Mask]]] = MappingProxyType(
    {
        "all": lambda rng, size: all_mask(*size),
        "first": lambda rng, size: first_mask(*size),
        "last": lambda rng, size: last_mask(*size),
        "ends": lambda rng, size: ends_mask(*size),
        "box": _box,
        "box_anywhere": _box_anywhere,
        "first_few": lambda rng, size: first_mask(*size, given=_some(rng)),
        "ends_few": lambda rng, size: ends_mask(*size, given=_some(rng)),
        "box_for_a_time": _box_for_a_time,
        "pixels": _pixels,
        "small_boxes": _small_boxes,
        "ellipse": _ellipse,
        "disc": _disc,
        "frames": _frames,
    }
)
"""What each kind leaves to the model:

* "all": everything;
* "first", "last", "ends": all but the first frame, the last, or both;
* "first_few", "ends_few": all but one to four frames at the beginning, or at each end;
* "box": a box that lies in the picture, a quarter to all of each side, in every frame;
* "box_anywhere": a box around any place, a quarter to three quarters of each side, cut off at the edges;
* "box_for_a_time": the same in some middle frames only;
* "small_boxes": a box of its own, up to a quarter of each side, in up to half of the frames;
* "ellipse", "disc": around any place, half axes of an eighth to a quarter of the short side, in every frame;
* "pixels", "frames": every single pixel, or every whole frame, by the toss of a coin.
"""

RELEASED_WEIGHTS: Final[Mapping[MaskKind, float]] = MappingProxyType(
    {
        "box_anywhere": 0.05,
        "all": 0.2,
        "first_few": 0.2,
        "ends_few": 0.2,
        "box_for_a_time": 0.05,
        "pixels": 0.05,
        "small_boxes": 0.05,
        "ellipse": 0.1,
        "disc": 0.05,
        "frames": 0.05,
    }
)  # fmt: skip
"""How often EasyAnimate was trained with each kind on clips."""

RELEASED_PICTURE_WEIGHTS: Final[Mapping[MaskKind, float]] = MappingProxyType(
    {"box_anywhere": 0.2, "all": 0.8}
)
"""The same on single pictures."""


def draw_mask(kind: MaskKind, rng: np.random.Generator, num_frames: int, height: int, width: int) -> Mask:
    """Draw a mask of one kind.

    Args:
        kind: One of `MASK_KINDS`.
        rng: Source of randomness.
        num_frames: T.
        height: H in pixels.
        width: W in pixels.

    Returns:
        The mask (T, H, W).

    Raises:
        ValueError: An unknown kind, or a size below 1.
    """
    if kind not in MASK_KINDS:
        raise ValueError(f"kind is {kind!r}; allowed: {', '.join(MASK_KINDS)}")
    check_size((num_frames, height, width))
    return MASK_KINDS[kind](rng, (num_frames, height, width))


def random_mask(
    rng: np.random.Generator,
    num_frames: int,
    height: int,
    width: int,
    *,
    weights: Mapping[MaskKind, float] | None = None,
) -> tuple[MaskKind, Mask]:
    """Draw a kind of mask and the mask.

    Args:
        rng: Source of randomness.
        num_frames: T.
        height: H in pixels.
        width: W in pixels.
        weights: How often each kind is drawn, relative to the others. By default as EasyAnimate was trained:
            `RELEASED_WEIGHTS`, and `RELEASED_PICTURE_WEIGHTS` for a single frame.

    Returns:
        The kind and the mask (T, H, W).

    Raises:
        ValueError: A size below 1, an unknown kind, or weights that are negative or all 0.
    """
    if weights is None:
        weights = RELEASED_PICTURE_WEIGHTS if num_frames == 1 else RELEASED_WEIGHTS
    if unknown := [kind for kind in weights if kind not in MASK_KINDS]:
        raise ValueError(f"weights name the kind {unknown[0]!r}; allowed: {', '.join(MASK_KINDS)}")
    shares = np.array(list(weights.values()), np.float64)
    if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        raise ValueError(f"weights are {dict(weights)}; allowed: numbers of 0 or more, not all 0")
    kind = list(weights)[int(rng.choice(len(shares), p=shares / shares.sum()))]
    return kind, draw_mask(kind, rng, num_frames, height, width)
