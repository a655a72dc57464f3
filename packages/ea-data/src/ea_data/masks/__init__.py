"""Masks in pixel space: which pixels a model has to make (True) and which it is given (False).

All masks are bool arrays (T, H, W). `shapes` makes masks of given numbers, `kinds` draws the numbers from a
generator that is passed in, with the probabilities that EasyAnimate was trained with or any others.
"""

from ea_data.masks.kinds import (
    MASK_KINDS,
    RELEASED_PICTURE_WEIGHTS,
    RELEASED_WEIGHTS,
    MaskKind,
    draw_mask,
    random_mask,
)
from ea_data.masks.shapes import (
    Mask,
    all_mask,
    box_mask,
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
    "Mask",
    "MaskKind",
    "all_mask",
    "box_mask",
    "disc_mask",
    "draw_mask",
    "ellipse_mask",
    "ends_mask",
    "first_mask",
    "last_mask",
    "random_mask",
]
