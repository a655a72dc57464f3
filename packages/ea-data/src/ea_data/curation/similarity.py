"""How alike neighbouring frames are."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.curation.reading import Pixels, load_cv2, scaled

__all__ = ["adjacent_similarity", "colour_features"]

_SIDE: Final = 256
_BINS: Final = (12, 4, 4)
_CELLS: Final = 2
_EDGE: Final = 1e-8


def adjacent_similarity(features: NDArray[np.floating]) -> list[float]:
    """The cosine of each two neighbouring rows of (N, D), in N - 1 numbers."""
    values = np.asarray(features, np.float64)
    lengths = np.maximum(np.linalg.norm(values, axis=1), _EDGE)
    products = np.einsum("nd,nd->n", values[:-1], values[1:])
    return [float(value) for value in products / (lengths[:-1] * lengths[1:])]


def colour_features(frames: list[Pixels]) -> NDArray[np.float64]:
    """Without a network: the colours of the whole frame and of its quarters, as roots of shares (N, D).

    The cosine of such roots is the Bhattacharyya coefficient of the two distributions of colours.
    """
    return np.stack([_features(frame) for frame in frames])


def _features(frame: Pixels) -> NDArray[np.float64]:
    cv2 = load_cv2()
    hsv = cv2.cvtColor(cv2.GaussianBlur(scaled(frame, _SIDE), (5, 5), 0), cv2.COLOR_RGB2HSV)
    parts = [hsv]
    for rows in np.array_split(hsv, _CELLS, axis=0):
        parts += np.array_split(rows, _CELLS, axis=1)
    counts = []
    for part in parts:
        part = np.ascontiguousarray(part)  # noqa: PLW2901
        counts.append(_smooth(cv2.calcHist([part], [0, 1, 2], None, list(_BINS), [0, 180, 0, 256, 0, 256])))
    return np.concatenate([np.sqrt(count / count.sum()).ravel() for count in counts])


def _smooth(counts: NDArray[np.float32]) -> NDArray[np.float64]:
    """Neighbouring bins share what they have: a colour at the border of two is one. Hue is a circle."""
    values = counts.astype(np.float64)
    values = 0.5 * values + 0.25 * (np.roll(values, 1, axis=0) + np.roll(values, -1, axis=0))
    for axis in (1, 2):
        padded = np.concatenate((values.take([0], axis), values, values.take([-1], axis)), axis)
        size = values.shape[axis]
        values = 0.5 * values + 0.25 * (
            padded.take(range(size), axis) + padded.take(range(2, size + 2), axis)
        )
    return values
