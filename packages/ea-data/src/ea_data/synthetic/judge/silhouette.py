"""Naming a silhouette: compare it, at one size and place, with the turned silhouettes of all shapes."""

import math
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ea_data.synthetic.geometry import signed_distance
from ea_data.synthetic.vocabulary import SHAPES

Float = NDArray[np.floating[Any]]

_GRID: Final = 32
_EXTENT: Final = 1.85  # half width of the comparison window, in radii of the disc of equal area
_SMOOTH: Final = 1.1  # in grid steps; hides how sharp the outline is
_SOFTER: Final = 2.6  # a second set of templates, for clips that a lossy codec or model has blurred
_STEP_DEGREES: Final = 6.0
SYMMETRY: Final = {
    "circle": 0,
    "square": 4,
    "triangle": 3,
    "star": 5,
    "diamond": 2,
    "pentagon": 5,
    "crescent": 1,
    "cross": 4,
    "ring": 0,
    "heart": 1,
}


class Templates(NamedTuple):
    """All turned silhouettes.

    Attributes:
        vectors: Unit-length pictures, shape (N, GRID * GRID).
        shape: Index into `SHAPES`, shape (N,).
        angle: Clockwise turn in radians, shape (N,).
    """

    vectors: Float
    shape: NDArray[np.int64]
    angle: Float


class Match(NamedTuple):
    """How a silhouette compares with every shape, per frame.

    Attributes:
        distance: Shape (T, len(SHAPES)); 0 is identical.
        angle: Best clockwise turn in radians for each shape, shape (T, len(SHAPES)).
    """

    distance: Float
    angle: Float


def _grid() -> Float:
    return ((np.arange(_GRID, dtype=np.float32) + 0.5) / _GRID * 2 - 1) * np.float32(_EXTENT)


@cache
def _smoothing(width: float) -> Float:
    steps = np.arange(_GRID, dtype=np.float32)
    kernel = np.exp(-0.5 * ((steps[:, None] - steps[None, :]) / width) ** 2)
    return kernel / kernel.sum(axis=1, keepdims=True)


def _normalised(pictures: Float, width: float = _SMOOTH) -> Float:
    smooth = _smoothing(width)
    flat = (smooth @ pictures @ smooth.T).reshape(len(pictures), -1)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


@cache
def measures(shape: str) -> tuple[float, float, float]:
    """Centroid x, y and radius of the disc of equal area, in the unit frame of a silhouette."""
    steps = np.linspace(-1.2, 1.2, 481, dtype=np.float32)
    inside = np.clip(
        0.5 - signed_distance(shape, steps[None, :] + 0 * steps[:, None], steps[:, None]) / 0.005, 0, 1
    )
    area = float(inside.sum())
    x = float((inside * steps[None, :]).sum() / area)
    y = float((inside * steps[:, None]).sum() / area)
    return x, y, math.sqrt(area * 0.005**2 / math.pi)


@cache
def templates() -> Templates:
    """The bank of silhouettes, made by the generator's own geometry."""
    grid = _grid()
    step = 2 * _EXTENT / _GRID
    pictures, shapes, angles = [], [], []
    for index, shape in enumerate(SHAPES):
        centre_x, centre_y, radius = measures(shape)
        period = 360.0 / SYMMETRY[shape] if SYMMETRY[shape] else _STEP_DEGREES
        for degrees in np.arange(0, period - 1e-6, _STEP_DEGREES):
            cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
            x, y = grid[None, :] * radius, grid[:, None] * radius
            unit_x = (x * cosine + y * sine + centre_x).astype(np.float32)
            unit_y = (y * cosine - x * sine + centre_y).astype(np.float32)
            pictures.append(np.clip(0.5 - signed_distance(shape, unit_x, unit_y) / (step * radius), 0, 1))
            shapes.append(index)
            angles.append(math.radians(degrees))
    stacked = np.stack(pictures).astype(np.float32)
    vectors = np.concatenate([_normalised(stacked), _normalised(stacked, _SOFTER)])
    return Templates(vectors, np.array(shapes * 2), np.array(angles * 2, dtype=np.float32))


def sample(alpha: Float, x: float, y: float, radius: float) -> Float:
    """Bring one soft mask (H, W) to the comparison grid: centre (x, y) and equal-area radius in pixels."""
    grid = _grid() * radius
    height, width = alpha.shape
    columns, rows = np.clip(grid + x, 0, width - 1.001), np.clip(grid + y, 0, height - 1.001)
    left, top = np.floor(columns).astype(int), np.floor(rows).astype(int)
    across, down = (columns - left)[None, :], (rows - top)[:, None]
    upper = (
        alpha[top[:, None], left[None, :]] * (1 - across) + alpha[top[:, None], left[None, :] + 1] * across
    )
    lower = (
        alpha[top[:, None] + 1, left[None, :]] * (1 - across)
        + alpha[top[:, None] + 1, left[None, :] + 1] * across
    )
    return upper * (1 - down) + lower * down


def match(pictures: Float) -> Match:
    """Compare (T, GRID, GRID) pictures from `sample` with every shape at every turn."""
    bank = templates()
    distance = 1 - _normalised(pictures) @ bank.vectors.T
    best = np.empty((len(pictures), len(SHAPES)), dtype=np.float32)
    angle = np.empty_like(best)
    for index in range(len(SHAPES)):
        members = np.nonzero(bank.shape == index)[0]
        nearest = distance[:, members].argmin(axis=1)
        best[:, index] = distance[np.arange(len(pictures)), members[nearest]]
        angle[:, index] = bank.angle[members[nearest]]
    return Match(best, angle)
