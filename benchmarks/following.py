"""How well a clip follows a control signal, told from its pixels alone.

Shapes: T frames, H and W pixels.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ea_data.control.makers import make_control
from ea_data.synthetic.judge.objects import find_objects
from ea_data.synthetic.judge.segment import fit_background, foreground

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Path = NDArray[np.float64]


def edges(clip: Frames) -> Mask:
    """(T, H, W), the lines of OpenCV's Canny with its default thresholds, as the model is given them."""
    return make_control(clip, "canny")[..., 0] > 0


def edge_f1(made: Mask, given: Mask) -> float:
    """Agreement of two line drawings (T, H, W), 0 ... 1; a line may be off by one pixel.

    The harmonic mean of the share of made lines that lie on given ones and the share of given ones that are
    there. Two empty drawings agree.
    """
    if not made.any() and not given.any():
        return 1.0
    if not made.any() or not given.any():
        return 0.0
    precision = float((made & _grown(given)).sum() / made.sum())
    recall = float((given & _grown(made)).sum() / given.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def path_of(clip: Frames) -> Path:
    """(T, 2): x and y of the middle of the largest object in every frame, pixels; NaN where none is seen."""
    small = clip.astype(np.float32)
    seen = find_objects(small, foreground(small, fit_background(small).at(small)))
    path = np.full((len(clip), 2), np.nan)
    if not seen:
        return path
    for time, region in max(seen, key=lambda found: found.area).regions.items():
        rows, columns = np.nonzero(region)
        path[time] = columns.mean(), rows.mean()
    return path


def path_error(made: Path, given: Path, short: int) -> float:
    """Mean distance in pixels of two paths over the frames of the given one.

    A frame in which nothing is seen counts as half the short side of the picture; frames in which the given
    path is not known count nothing.
    """
    known = ~np.isnan(given[:, 0])
    if not known.any():
        return math.nan
    distance = np.linalg.norm(made - given, axis=1)[known]
    return float(np.where(np.isnan(distance), short / 2, distance).mean())


def _grown(mask: Mask) -> Mask:
    """With the eight neighbours of every pixel of each frame."""
    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    height, width = mask.shape[1:]
    shifts = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.logical_or.reduce(shifts)
