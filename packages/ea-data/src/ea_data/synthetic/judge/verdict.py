"""The blind judge: what a clip shows, from its pixels alone."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ea_data.synthetic.judge.objects import Sighting, find_objects, nearest_names
from ea_data.synthetic.judge.segment import Background, Mask, fit_background, foreground
from ea_data.synthetic.judge.silhouette import match, measures, sample
from ea_data.synthetic.judge.track import Track, name_motion
from ea_data.synthetic.vocabulary import BACKGROUND_RGB, BACKGROUNDS, SHAPES

Float = NDArray[np.float32]

_WORKING_SIDE: Final = 128
_PLAIN_SPREAD: Final = 26.0


@dataclass(frozen=True, kw_only=True)
class JudgedObject:
    """One object that was seen.

    Attributes:
        shape: One of `SHAPES`.
        colour: One of `COLOURS`.
        motion: One of `MOTIONS`.
        confidence: 0..1, the least of the three.
        seen: Share of the frames in which the object was found.
    """

    shape: str
    colour: str
    motion: str
    confidence: float
    seen: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a clip shows.

    Attributes:
        objects: Largest first; empty when nothing stands out.
        background_kind: "plain", "gradient" or "striped".
        background_colours: One or two names from `BACKGROUNDS`.
    """

    objects: tuple[JudgedObject, ...]
    background_kind: str
    background_colours: tuple[str, ...]


def judge(frames: NDArray[np.uint8]) -> Verdict:
    """Say what a clip of the procedural kind shows, without knowing what was asked for.

    Args:
        frames: Array of shape (T, H, W, 3), sRGB 0..255, at least 16 pixels a side.

    Returns:
        The verdict. With one frame every motion is "still".

    Raises:
        ValueError: Another shape or type of array.
    """
    small = shrunk(frames)
    background = fit_background(small)
    behind = background.at(small)
    sightings = find_objects(small, foreground(small, behind))
    described = [(seen.area, describe(small, behind, seen)) for seen in sightings]
    found = [(area, told.judged) for area, told in described if told is not None]
    found.sort(key=lambda pair: -pair[0])
    kind, names = _name_background(background)
    return Verdict(
        objects=tuple(judged for _, judged in found), background_kind=kind, background_colours=names
    )


def shrunk(frames: NDArray[np.uint8]) -> Float:
    """Check frames, and bring large ones to the size that is worked at.

    Raises:
        ValueError: See `judge`.
    """
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or min(frames.shape[1:3]) < 16:
        raise ValueError(
            f"frames are {frames.dtype} {frames.shape}; allowed: uint8 (T, H, W, 3), 16 pixels or more"
        )
    factor = max(1, min(frames.shape[1:3]) // _WORKING_SIDE)
    if factor == 1:
        return frames.astype(np.float32)
    count, height, width = frames.shape[0], frames.shape[1] // factor, frames.shape[2] // factor
    cut = frames[:, : height * factor, : width * factor]
    return cut.reshape(count, height, factor, width, factor, 3).mean(axis=(2, 4), dtype=np.float32)


class Described(NamedTuple):
    """An object, where it is on average in short sides, and how far its outline is from its shape's."""

    judged: JudgedObject
    x: float
    y: float
    misfit: float


def describe(frames: Float, behind: Float, seen: Sighting) -> Described | None:
    """Name shape and motion of an object; None where nothing of it has an outline."""
    short = min(frames.shape[1:3])
    pictures, rows = [], []
    for time, region in seen.regions.items():
        alpha, left, top = _soft_mask(frames[time], behind[min(time, len(behind) - 1)], region, seen.rgb)
        area = float(alpha.sum())
        if area < 1:  # a smear that fades into the background has no outline in this frame
            continue
        steps_y, steps_x = np.arange(alpha.shape[0]), np.arange(alpha.shape[1])
        x, y = float((alpha.sum(0) * steps_x).sum() / area), float((alpha.sum(1) * steps_y).sum() / area)
        radius = math.sqrt(area / math.pi)
        pictures.append(sample(alpha, x, y, radius))
        rows.append((x + left, y + top, radius))
    if not pictures:
        return None
    compared = match(np.stack(pictures))
    x, y, radius = np.array(rows, dtype=np.float32).T
    votes = (compared.distance * (radius**2)[:, None]).sum(axis=0) / (radius**2).sum()
    order = np.argsort(votes)
    shape = SHAPES[int(order[0])]
    shape_confidence = float(1 - votes[order[0]] / votes[order[1]])
    angle = compared.angle[:, order[0]]
    centre_x, centre_y, unit = measures(shape)
    scale = radius / unit
    turning_x = x - (centre_x * np.cos(angle) - centre_y * np.sin(angle)) * scale
    turning_y = y - (centre_x * np.sin(angle) + centre_y * np.cos(angle)) * scale
    motion, motion_confidence = name_motion(
        Track(turning_x / short, turning_y / short, radius / short, angle), shape
    )
    judged = JudgedObject(
        shape=shape,
        colour=seen.colour,
        motion=motion,
        confidence=min(shape_confidence, motion_confidence),
        seen=len(seen.regions) / len(frames),
    )
    return Described(judged, float(x.mean()) / short, float(y.mean()) / short, float(votes[order[0]]))


def _soft_mask(frame: Float, behind: Float, region: Mask, rgb: Float) -> tuple[Float, int, int]:
    """Coverage of one object, cut out around it, and the left and top of the cut."""
    rows, columns = np.nonzero(region.any(axis=1))[0], np.nonzero(region.any(axis=0))[0]
    window = (
        slice(max(int(rows[0]) - 3, 0), int(rows[-1]) + 4),
        slice(max(int(columns[0]) - 3, 0), int(columns[-1]) + 4),
    )
    towards = rgb - behind[window]
    alpha = np.einsum("hwc,hwc->hw", frame[window] - behind[window], towards)
    alpha = np.clip(alpha / np.maximum(np.einsum("hwc,hwc->hw", towards, towards), 1.0), 0, 1)
    near = np.pad(region[window], 1)
    near = near[1:-1, 1:-1] | near[:-2, 1:-1] | near[2:, 1:-1] | near[1:-1, :-2] | near[1:-1, 2:]
    return (alpha * near).astype(np.float32), window[1].start, window[0].start


def _name_background(background: Background) -> tuple[str, tuple[str, ...]]:
    spread = float(np.linalg.norm(background.ends[0] - background.ends[1]))
    nearest = nearest_names(background.ends, BACKGROUND_RGB, BACKGROUNDS)
    if background.field is None:
        return "striped", (nearest[0],) if nearest[0] == nearest[1] else (nearest[0], nearest[1])
    if spread < _PLAIN_SPREAD:
        middle = background.ends.mean(axis=0, keepdims=True)
        return "plain", nearest_names(middle, BACKGROUND_RGB, BACKGROUNDS)
    return "gradient", nearest
