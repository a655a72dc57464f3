"""Where a shape is in every frame, in pixels, and how far every pixel around it is from its outline.

Shapes: T frames, H and W pixels, S the side of the square window around a shape.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ea_data.synthetic.geometry import OUTER_RADIUS, signed_distance
from ea_data.synthetic.motion import pose
from ea_data.synthetic.scene import ShapeSpec, centres
from ea_data.synthetic.vocabulary import Rgb

Array = NDArray[np.float64]


class Track(NamedTuple):
    """A shape over time, in pixels of the picture.

    Attributes:
        x: (T,) turning point, from the left border of the picture.
        y: (T,) from the upper border.
        radius: (T,) of the silhouette's unit frame.
        angle: (T,) clockwise turn in radians.
        reach: From the turning point to where nothing of the shape is seen any more, in all frames.
    """

    x: Array
    y: Array
    radius: Array
    angle: Array
    reach: float


class Outline(NamedTuple):
    """Signed distances of a shape in the window around it.

    Attributes:
        left: (T,) first column of the window.
        top: (T,) first row.
        distance: (T, S, S) float32 in pixels, negative inside; exact near the outline.
    """

    left: NDArray[np.int_]
    top: NDArray[np.int_]
    distance: NDArray[np.float32]

    def window(self, frame: int) -> tuple[slice, slice]:
        """Rows and columns of the window in a frame."""
        rows, columns = self.distance.shape[1:]
        top, left = self.top[frame], self.left[frame]
        return slice(top, top + rows), slice(left, left + columns)


def reach_of(radius: float) -> float:
    """`Track.reach` of a shape whose radius is at most this."""
    return radius * OUTER_RADIUS + 1.5


def track_of(shape: ShapeSpec, time: Array, height: int, width: int) -> Track:
    """Where a shape is that has the picture for itself and is seen by a camera that stands still.

    Args:
        shape: The shape.
        time: (T,) normalised times in 0..1.
        height: Pixels.
        width: Pixels.
    """
    short = min(height, width)
    x, y = (value * short for value in centres(shape, time, width / short, height / short))
    offset = pose(shape.motion, shape.travel, time)
    radius = shape.size / 2 * short * offset.scale
    return Track(x, y, radius, offset.angle, reach_of(shape.size / 2 * short))


def outline(name: str, track: Track, height: int, width: int) -> Outline:
    """Measure a shape in the pixels around it.

    Args:
        name: One of `SHAPES`.
        track: Where it is; it may lie partly or wholly outside the picture.
        height: Pixels.
        width: Pixels.
    """
    x, y, radius, angle, reach = track
    window = min(math.ceil(2 * reach) + 1, height, width)
    left = np.clip(np.floor(x - reach), 0, width - window).astype(int)
    top = np.clip(np.floor(y - reach), 0, height - window).astype(int)
    steps = np.arange(window, dtype=np.float32) + np.float32(0.5)
    right_of = (steps[None, :] + (left - x).astype(np.float32)[:, None])[:, None, :]
    below = (steps[None, :] + (top - y).astype(np.float32)[:, None])[:, :, None]
    radius_px = radius.astype(np.float32)[:, None, None]
    cosine = np.cos(angle).astype(np.float32)[:, None, None]
    sine = np.sin(angle).astype(np.float32)[:, None, None]
    unit_x = (right_of * cosine + below * sine) / radius_px
    unit_y = (below * cosine - right_of * sine) / radius_px
    return Outline(left, top, (signed_distance(name, unit_x, unit_y) * radius_px).astype(np.float32))


def coverage(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much of each pixel is covered, 0..1, from its distance to the outline."""
    return np.clip(np.float32(0.5) - distance, 0, 1)


def paint(frames: NDArray[np.uint8], drawn: Outline, rgb: Rgb) -> None:
    """Paint a shape over frames (T, H, W, 3), in place, touching only the window around it."""
    fill = np.array(rgb, dtype=np.float32)
    covered = coverage(drawn.distance)[..., None]
    for index in range(len(frames)):
        window = drawn.window(index)
        patch = frames[index][window].astype(np.float32)
        patch += (fill - patch) * covered[index]
        frames[index][window] = (patch + np.float32(0.5)).astype(np.uint8)
