"""Naming what a camera does, from how the whole picture moves between frames.

Each pair of neighbouring frames is brought together by a similarity (shift, scale, turn) that least squares
find from the gradients of the picture, twice: on a picture of half the size, then on the whole one. Pixels
that such a motion does not explain, those of moving shapes, count little. Source of the method: Lucas and
Kanade, "An iterative image registration technique", 1981.

Shapes: T frames, H and W pixels.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.synthetic.judge.verdict import shrunk

__all__ = ["JudgedCamera", "judge_camera"]

Float = NDArray[np.floating[Any]]

_STEPS: Final = 8
_EXPLAINED: Final = 6.0  # grey values of difference that halve what a pixel counts
_GRADIENT: Final = 4.0  # grey values per pixel that are a pattern
_CELLS: Final = 6
_PATTERNED: Final = 0.6  # of the cells of the picture
# How much of each move counts as the whole of it, and from which share on it is one.
_FULL_SHIFT: Final = 0.18
_FULL_SCALE: Final = 0.28
_FULL_TURN: Final = 0.65
_ENOUGH: Final = 0.3


@dataclass(frozen=True, kw_only=True)
class JudgedCamera:
    """What the camera does.

    Attributes:
        move: A word of `ea_data.control.moves`, such as "pan left" or "static"; None where the background has
            too little of a pattern to tell.
        confidence: 0..1.
        shift: How far the background went to the right and down in all, in short sides.
        scale: How many times larger it became.
        turn: How far it turned clockwise, radians.
    """

    move: str | None
    confidence: float
    shift: tuple[float, float]
    scale: float
    turn: float


def judge_camera(frames: NDArray[np.uint8]) -> JudgedCamera:
    """Say what the camera of a clip does.

    Args:
        frames: (T, H, W, 3), sRGB 0..255, at least 16 pixels a side.

    Returns:
        The largest of its moves; "static" for a single frame of a patterned background.

    Raises:
        ValueError: Another shape or type of array.
    """
    grey_THW = _smooth(shrunk(frames).mean(axis=-1))
    short = min(grey_THW.shape[1:])
    total = np.zeros(4)
    for before, after in pairwise(grey_THW):
        step = _step(_halved(before), _halved(after), np.zeros(4)) * (2, 2, 1, 1)
        total += _step(before, after, step)
    right, down, growth, turn = (
        float(total[0] / short),
        float(total[1] / short),
        float(total[2]),
        float(total[3]),
    )
    evidence = {
        "pan left": right / _FULL_SHIFT,
        "pan right": -right / _FULL_SHIFT,
        "pan up": down / _FULL_SHIFT,
        "pan down": -down / _FULL_SHIFT,
        "zoom in": growth / _FULL_SCALE,
        "zoom out": -growth / _FULL_SCALE,
        "clockwise": -turn / _FULL_TURN,
        "counter-clockwise": turn / _FULL_TURN,
    }
    (name, best), (_, second) = sorted(evidence.items(), key=lambda item: -item[1])[:2]
    confidence = 1 - max(second, _ENOUGH / 2) / best if best >= _ENOUGH else 1 - best
    move = name if best >= _ENOUGH else "static"
    known = _patterned(grey_THW[0])
    return JudgedCamera(
        move=move if known else None,
        confidence=float(np.clip(confidence, 0, 1)) if known else 0.0,
        shift=(right, down),
        scale=math.exp(growth),
        turn=turn,
    )


def _smooth(grey: Float) -> Float:
    """A binomial blur of the last two axes."""
    for axis in (-2, -1):
        edges = [(1, 1) if place == axis % grey.ndim else (0, 0) for place in range(grey.ndim)]
        padded = np.moveaxis(np.pad(grey, edges, mode="edge"), axis, 0)
        grey = np.moveaxis((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4, 0, axis)
    return grey


def _halved(grey: Float) -> Float:
    height, width = grey.shape[0] // 2 * 2, grey.shape[1] // 2 * 2
    return _smooth(grey[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)))


def _patterned(grey: Float) -> bool:
    """Whether most cells of a picture have gradients."""
    down, across = np.gradient(grey)
    steep = np.hypot(down, across) > _GRADIENT
    height, width = (side // _CELLS * _CELLS for side in grey.shape)
    cells = steep[:height, :width].reshape(_CELLS, height // _CELLS, _CELLS, width // _CELLS)
    return bool(cells.any(axis=(1, 3)).mean() >= _PATTERNED)


def _step(before: Float, after: Float, start: Float) -> Float:
    """Shift right and down in pixels, growth and clockwise turn from one picture (H, W) to the next."""
    height, width = before.shape
    y, x = np.mgrid[:height, :width] - np.array([height - 1, width - 1])[:, None, None] / 2
    down, across = np.gradient(before)
    slopes = np.stack([across, down, across * x + down * y, down * x - across * y], axis=-1).reshape(-1, 4)
    found = np.array(start, dtype=np.float64)
    for _ in range(_STEPS):
        scale, cosine, sine = math.exp(found[2]), math.cos(found[3]), math.sin(found[3])
        columns = scale * (cosine * x - sine * y) + found[0] + (width - 1) / 2
        rows = scale * (sine * x + cosine * y) + found[1] + (height - 1) / 2
        known = (columns >= 0) & (columns <= width - 1) & (rows >= 0) & (rows <= height - 1)
        error = (before - _at(after, rows, columns)).ravel()
        weight = known.ravel() / (1 + (error / _EXPLAINED) ** 2)
        weighted = slopes * weight[:, None]
        change = np.linalg.lstsq(weighted.T @ slopes + 1e-3 * np.eye(4), weighted.T @ error, rcond=None)[0]
        found += change
        if np.abs(change[:2]).max() < 1e-3:
            break
    return found


def _at(picture: Float, rows: Float, columns: Float) -> Float:
    """Bilinear values at places, those outside taken from the border."""
    height, width = picture.shape
    rows, columns = np.clip(rows, 0, height - 1.001), np.clip(columns, 0, width - 1.001)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, across = rows - top, columns - left
    upper = picture[top, left] * (1 - across) + picture[top, left + 1] * across
    lower = picture[top + 1, left] * (1 - across) + picture[top + 1, left + 1] * across
    return upper * (1 - down) + lower * down
