"""Masks of given numbers: frames at the ends, boxes, ellipses. True is what a model has to make."""

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Mask",
    "Size",
    "all_mask",
    "box_mask",
    "check_size",
    "disc_mask",
    "ellipse_mask",
    "ends_mask",
    "first_mask",
    "last_mask",
]

Mask = NDArray[np.bool_]
Size = tuple[int, int, int]
"""Frames, height and width."""


def all_mask(num_frames: int, height: int, width: int) -> Mask:
    """Everything is to be made: text to video."""
    check_size((num_frames, height, width))
    return np.ones((num_frames, height, width), dtype=bool)


def first_mask(num_frames: int, height: int, width: int, *, given: int = 1) -> Mask:
    """The first frames are given, as many as leave one to be made.

    Args:
        num_frames: T.
        height: H.
        width: W.
        given: Frames that are given, 1 or more; at most T - 1 are, so that a single frame is to be made.

    Raises:
        ValueError: A number or a size below 1.
    """
    _check_given(given)
    mask = all_mask(num_frames, height, width)
    mask[: min(given, num_frames - 1)] = False
    return mask


def last_mask(num_frames: int, height: int, width: int) -> Mask:
    """The last frame is given; a single frame is to be made."""
    mask = all_mask(num_frames, height, width)
    mask[-1] = num_frames == 1
    return mask


def ends_mask(num_frames: int, height: int, width: int, *, given: int = 1) -> Mask:
    """First and last frames are given, as many at each end as leave one to be made between them.

    Two frames leave no middle: the first is given and the second to be made.

    Raises:
        ValueError: A number or a size below 1.
    """
    _check_given(given)
    if num_frames < 3:
        return first_mask(num_frames, height, width)
    mask = all_mask(num_frames, height, width)
    given = min(given, (num_frames - 1) // 2)
    mask[:given] = False
    mask[num_frames - given :] = False
    return mask


def box_mask(size: Size, *, top: int, left: int, height: int, width: int) -> Mask:
    """One box in every frame is to be made; what lies outside the picture is cut off.

    Args:
        size: T, H and W.
        top: First row, may be negative.
        left: First column, may be negative.
        height: Rows.
        width: Columns.
    """
    check_size(size)
    mask = np.zeros(size, dtype=bool)
    mask[:, max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = True
    return mask


def ellipse_mask(size: Size, *, centre: tuple[int, int], half_axes: tuple[int, int]) -> Mask:
    """One ellipse in every frame is to be made: the pixels strictly inside it.

    Args:
        size: T, H and W.
        centre: Row and column.
        half_axes: Half its height and half its width, 1 or more pixels.

    Raises:
        ValueError: A size or a half axis below 1.
    """
    _, height, width = size
    check_size(size)
    if min(half_axes) < 1:
        raise ValueError(f"half_axes are {half_axes}; allowed: 1 or more pixels")
    down, across = half_axes
    mask = np.zeros(size, dtype=bool)
    # Only the part that can lie inside is looked at: zeroed memory costs nothing until it is written.
    rows = np.arange(max(centre[0] - down, 0), min(centre[0] + down + 1, height))
    columns = np.arange(max(centre[1] - across, 0), min(centre[1] + across + 1, width))
    if len(rows) and len(columns):
        far_down = ((rows - centre[0]) * across) ** 2
        far_across = ((columns - centre[1]) * down) ** 2
        inside = far_down[:, None] + far_across < (down * across) ** 2  # whole numbers: exact on the edge
        mask[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = inside
    return mask


def disc_mask(size: Size, *, centre: tuple[int, int], radius: int) -> Mask:
    """One disc in every frame is to be made: the pixels strictly inside it."""
    return ellipse_mask(size, centre=centre, half_axes=(radius, radius))


def check_size(size: Size) -> None:
    """Refuses sizes below 1."""
    if min(size) < 1:
        raise ValueError(f"num_frames, height and width are {size}; allowed: 1 or more")


def _check_given(given: int) -> None:
    if given < 1:
        raise ValueError(f"given is {given}; allowed: 1 or more frames")
