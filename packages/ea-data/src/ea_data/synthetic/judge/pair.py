"""Naming two shapes and how they stand to each other, also where one hides a part of the other.

Shapes: T frames, H and W pixels.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.synthetic.contrast import to_lab
from ea_data.synthetic.judge.objects import Sighting, nearest_names
from ea_data.synthetic.judge.segment import Float, Mask, components, erode, fit_background, foreground
from ea_data.synthetic.judge.verdict import JudgedObject, describe, shrunk
from ea_data.synthetic.vocabulary import COLOURS, SHAPE_RGB

__all__ = ["JudgedPair", "judge_pair"]

_MIN_AREA: Final = 0.0025  # of the frame, for a shape to be seen in it
_MIN_SEEN: Final = 0.3  # of the frames
_TOUCHING: Final = 0.5  # of the frames, for one shape to be behind the other


@dataclass(frozen=True, kw_only=True)
class JudgedPair:
    """Two shapes that were seen.

    Attributes:
        first: What is left of, above or behind the other one.
        relation: One of `RELATIONS`.
        second: The other one.
    """

    first: JudgedObject
    relation: str
    second: JudgedObject


def judge_pair(frames: NDArray[np.uint8]) -> JudgedPair | None:
    """Say what two shapes a clip shows and how they stand to each other, without knowing what was asked for.

    Args:
        frames: (T, H, W, 3), sRGB 0..255, at least 16 pixels a side.

    Returns:
        The pair; None unless two colours stand out from the background.

    Raises:
        ValueError: Another shape or type of array.
    """
    small = shrunk(frames)
    background = fit_background(small)
    behind = background.at(small)
    mask = foreground(small, behind)
    sightings = _two_colours(small, mask)
    found = [(seen, describe(small, behind, seen)) for seen in sightings]
    if len(found) < 2 or found[0][1] is None or found[1][1] is None:
        return None
    (one, one_is), (other, other_is) = ((seen, told) for seen, told in found if told is not None)
    if _touching(one, other) >= _TOUCHING:
        # What is in front has its whole outline.
        order = one_is.misfit >= other_is.misfit
        relation = "behind"
    else:
        right, down = other_is.x - one_is.x, other_is.y - one_is.y
        relation = "left of" if abs(right) >= abs(down) else "above"
        order = (right if relation == "left of" else down) > 0
    first, second = (one_is, other_is) if order else (other_is, one_is)
    return JudgedPair(first=first.judged, relation=relation, second=second.judged)


def _two_colours(frames: Float, mask: Mask) -> list[Sighting]:
    """The shapes of the two most frequent colours of the foreground."""
    inner = erode(mask)
    if not inner.any():
        return []
    pixels = frames[inner]
    names = np.array(nearest_names(pixels[:: max(1, len(pixels) // 20_000)], SHAPE_RGB, COLOURS))
    chosen = pixels[:: max(1, len(pixels) // 20_000)]
    counted = sorted(((int((names == name).sum()), name) for name in COLOURS), reverse=True)[:2]
    if counted[1][0] == 0:
        return []
    typical = np.stack([np.median(chosen[names == name], axis=0) for _, name in counted]).astype(np.float32)
    nearer = _nearest(frames, mask, typical)
    sightings = []
    for number, (_, name) in enumerate(counted):
        regions = {
            time: region
            for time in range(len(frames))
            if (region := _largest(mask[time] & (nearer[time] == number))) is not None
        }
        if len(regions) >= _MIN_SEEN * len(frames):
            area = sum(int(region.sum()) for region in regions.values())
            sightings.append(Sighting(colour=name, rgb=typical[number], regions=regions, area=area))
    return sightings


def _nearest(frames: Float, mask: Mask, typical: Float) -> NDArray[np.int8]:
    """Which of the colours (N, 3) is nearest, (T, H, W); -1 outside the mask."""
    found = np.full(mask.shape, -1, np.int8)
    distance = np.linalg.norm(to_lab(frames[mask])[:, None] - to_lab(typical), axis=-1)
    found[mask] = distance.argmin(axis=1)
    return found


def _largest(mask: Mask) -> Mask | None:
    """The largest connected region, None where it is too small."""
    labels, count = components(mask)
    if count == 0:
        return None
    areas = np.bincount(labels.ravel())[1:]
    return labels == areas.argmax() + 1 if areas.max() >= max(4, _MIN_AREA * mask.size) else None


def _touching(one: Sighting, other: Sighting) -> float:
    """Share of the frames with both in which they touch, over a gap of two pixels at most."""
    both = sorted(set(one.regions) & set(other.regions))
    if not both:
        return 0.0
    touch = [bool((_grown(one.regions[time]) & _grown(other.regions[time])).any()) for time in both]
    return sum(touch) / len(both)


def _grown(mask: Mask) -> Mask:
    padded = np.pad(mask, 1)
    return padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
