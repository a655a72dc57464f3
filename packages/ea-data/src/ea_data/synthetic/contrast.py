"""Perceptual colour distance (CIELAB, D65), and which background colours a shape may stand on."""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ea_data.synthetic.vocabulary import BACKGROUND_RGB, BACKGROUNDS, SHAPE_RGB

_RGB_TO_XYZ: Final = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE: Final = np.array([0.95047, 1.0, 1.08883])

MIN_CONTRAST: Final = 48.0
_MIN_GRADIENT: Final = 25.0
_MAX_GRADIENT: Final = 80.0


def to_lab(rgb: ArrayLike) -> NDArray[np.float64]:
    """CIELAB of sRGB colours in 0..255; the last axis has three entries."""
    value = np.asarray(rgb, dtype=np.float64) / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _RGB_TO_XYZ.T / _WHITE
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def contrast(first: ArrayLike, second: ArrayLike) -> float:
    """Euclidean CIELAB distance of two sRGB colours in 0..255."""
    return float(np.linalg.norm(to_lab(first) - to_lab(second)))


@cache
def plain_choices(colours: tuple[str, ...]) -> tuple[str, ...]:
    """Background colours that every one of the shape colours stands out from."""
    return tuple(
        name
        for name in BACKGROUNDS
        if all(contrast(SHAPE_RGB[colour], BACKGROUND_RGB[name]) >= MIN_CONTRAST for colour in colours)
    )


@cache
def gradient_choices(colours: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Ordered pairs of background colours whose whole gradient stands out from every shape colour."""
    pairs = []
    allowed = plain_choices(colours)
    for first in allowed:
        for second in allowed:
            ends = np.array([BACKGROUND_RGB[first], BACKGROUND_RGB[second]], dtype=np.float64)
            if not _MIN_GRADIENT <= contrast(ends[0], ends[1]) <= _MAX_GRADIENT:
                continue
            steps = np.linspace(0, 1, 5)[1:-1, None]
            between = to_lab(ends[0] * (1 - steps) + ends[1] * steps)
            shapes = to_lab([SHAPE_RGB[colour] for colour in colours])
            if np.linalg.norm(between[:, None] - shapes[None], axis=-1).min() >= MIN_CONTRAST:
                pairs.append((first, second))
    return tuple(pairs)
