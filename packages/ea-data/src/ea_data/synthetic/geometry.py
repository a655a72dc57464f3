"""Signed distances of the ten silhouettes.

A silhouette lives in its own unit frame: x to the right, y down, centred on its turning point, everything
within radius `OUTER_RADIUS`. Distances are negative inside and exact close to the outline, which is all that
anti-aliasing needs; the circle through pointed corners keeps their soft rim from reaching further out.
"""

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Distance = Callable[[Array, Array], Array]

OUTER_RADIUS: Final = 1.08


def _circle(x: Array, y: Array) -> Array:
    return np.hypot(x, y) - 0.96


def _square(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x), np.abs(y)) - 0.76


def _polygon(x: Array, y: Array, *, sides: int, radius: float) -> Array:
    inner = radius * math.cos(math.pi / sides)
    distance: Array | None = None
    for side in range(sides):
        angle = math.pi / 2 + 2 * math.pi * side / sides  # the first side lies at the bottom
        edge = x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle)) - np.float32(inner)
        distance = edge if distance is None else np.maximum(distance, edge)
    assert distance is not None
    return np.maximum(distance, np.hypot(x, y) - np.float32(radius))


def _triangle(x: Array, y: Array) -> Array:
    return _polygon(x, y, sides=3, radius=1.08)


def _pentagon(x: Array, y: Array) -> Array:
    return _polygon(x, y, sides=5, radius=1.04)


def _star(x: Array, y: Array) -> Array:
    # Fold the plane into one tenth of the star, where its outline is one straight edge, tip to notch.
    outer, inner = 1.08, 0.46
    sector = 2 * math.pi / 5
    angle = np.arctan2(x, -y)
    folded = np.abs(np.mod(angle + np.float32(sector / 2), np.float32(sector)) - np.float32(sector / 2))
    radius = np.hypot(x, y)
    along, across = radius * np.cos(folded), radius * np.sin(folded)
    notch_along, notch_across = inner * math.cos(sector / 2), inner * math.sin(sector / 2)
    edge_along, edge_across = notch_along - outer, notch_across
    length = math.hypot(edge_along, edge_across)
    normal_along, normal_across = edge_across / length, -edge_along / length
    edge = (along - np.float32(outer)) * np.float32(normal_along) + across * np.float32(normal_across)
    return np.maximum(edge, radius - np.float32(outer))


def _diamond(x: Array, y: Array) -> Array:
    half_width, half_height = 0.62, 1.08
    scale = 1 / math.hypot(half_width, half_height)
    edge = (np.abs(x) * half_height + np.abs(y) * half_width - half_width * half_height) * np.float32(scale)
    return np.maximum(edge, np.hypot(x, y) - np.float32(half_height))


def _crescent(x: Array, y: Array) -> Array:
    outer = np.hypot(x, y) - 1.02
    bite = np.hypot(x - np.float32(0.52), y) - 0.8
    return np.maximum(outer, -bite)


def _cross(x: Array, y: Array) -> Array:
    length, width = 1.0, 0.33
    a, b = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(a - length, b - width), np.maximum(a - width, b - length))


def _ring(x: Array, y: Array) -> Array:
    return np.abs(np.hypot(x, y) - np.float32(0.77)) - np.float32(0.23)


def _heart(x: Array, y: Array) -> Array:
    # A square on its corner, and a half disc on each of its two upper sides.
    half_side, tip = 0.58, np.float32(0.98)
    centre = tip - np.float32(half_side * math.sqrt(2))
    side = np.abs(x)
    body = (side + np.abs(y - centre)) * np.float32(math.sqrt(0.5)) - np.float32(half_side)
    shift = np.float32(half_side * math.sqrt(0.5))
    lobe = np.hypot(side - shift, y - centre + shift) - np.float32(half_side)
    return np.minimum(body, lobe)


_DISTANCES: Final[dict[str, Distance]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "diamond": _diamond,
    "pentagon": _pentagon,
    "crescent": _crescent,
    "cross": _cross,
    "ring": _ring,
    "heart": _heart,
}


def signed_distance(shape: str, x: Array, y: Array) -> Array:
    """Signed distance to a silhouette in its unit frame.

    Args:
        shape: One of `SHAPES`.
        x: Horizontal coordinate, any shape, right positive.
        y: Vertical coordinate, same shape, down positive.

    Returns:
        Distance in units of the nominal radius, negative inside.

    Raises:
        ValueError: The shape is unknown.
    """
    if shape not in _DISTANCES:
        raise ValueError(f"shape is {shape!r}; allowed: {', '.join(_DISTANCES)}")
    return _DISTANCES[shape](x, y)
