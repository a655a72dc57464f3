"""From a scene to pixels: anti-aliased by distance, any size and length."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.synthetic.geometry import OUTER_RADIUS, signed_distance
from ea_data.synthetic.motion import pose, times
from ea_data.synthetic.scene import BackgroundSpec, SceneSpec, ShapeSpec, centres

Frames = NDArray[np.uint8]
_MAX_PIXELS: Final = 1 << 31


def render(spec: SceneSpec, *, num_frames: int, height: int, width: int) -> Frames:
    """Draw a scene.

    Args:
        spec: What to draw.
        num_frames: Number of frames; the motion always fills the whole clip, one frame is its first moment.
        height: Pixels, 8 or more.
        width: Pixels, 8 or more.

    Returns:
        Frames of shape (num_frames, height, width, 3), sRGB 0..255.

    Raises:
        ValueError: A size or length out of range.
    """
    check_size(num_frames, height, width)
    time = times(num_frames)
    background = _background(spec.background, height, width)
    frames = np.repeat((background + np.float32(0.5)).astype(np.uint8)[None], num_frames, axis=0)
    for shape in spec.shapes:
        _draw(frames, shape, time)
    return frames


def check_size(num_frames: int, height: int, width: int) -> None:
    """Check that a clip of this size can be drawn.

    Raises:
        ValueError: A size or length out of range.
    """
    if height < 8 or width < 8:
        raise ValueError(f"height and width are {height} and {width}; allowed: 8 or more")
    if num_frames < 1 or num_frames * height * width > _MAX_PIXELS:
        raise ValueError(
            f"num_frames is {num_frames}; allowed: 1 or more, and at most {_MAX_PIXELS} pixels in all"
        )


def _background(spec: BackgroundSpec, height: int, width: int) -> NDArray[np.float32]:
    """Background picture (height, width, 3), 0..255."""
    first, second = (np.array(rgb, dtype=np.float32) for rgb in spec.rgb)
    if spec.kind == "plain":
        return np.broadcast_to(first, (height, width, 3))
    short = min(height, width)
    y = ((np.arange(height, dtype=np.float32) + 0.5) - height / 2)[:, None] / short
    x = ((np.arange(width, dtype=np.float32) + 0.5) - width / 2)[None, :] / short
    along = x * np.float32(math.cos(spec.angle)) + y * np.float32(math.sin(spec.angle))
    if spec.kind == "gradient":
        span = (abs(math.cos(spec.angle)) * width + abs(math.sin(spec.angle)) * height) / short
        weight = np.clip(along / np.float32(span) + 0.5, 0, 1)
    else:
        # A triangle wave is the distance to the edge of the stripe: clip it to one pixel for a smooth edge.
        position = np.mod(along / np.float32(spec.period) + np.float32(spec.phase), 1.0)
        edge = (0.25 - np.abs(position - 0.5)) * np.float32(spec.period * short)
        weight = np.clip(edge + 0.5, 0, 1)
    return (first + (second - first) * weight[..., None]).astype(np.float32)


def _draw(frames: Frames, shape: ShapeSpec, time: NDArray[np.float64]) -> None:
    """Paint one shape over the frames, in place, touching only the window around it."""
    _, height, width, _ = frames.shape
    short = min(height, width)
    x, y = (value * short for value in centres(shape, time, width / short, height / short))
    offset = pose(shape.motion, shape.travel, time)
    radius = shape.size / 2 * short * offset.scale
    reach_px = shape.size / 2 * short * OUTER_RADIUS + 1.5
    window = min(math.ceil(2 * reach_px) + 1, height, width)
    left = np.clip(np.floor(x - reach_px), 0, width - window).astype(int)
    top = np.clip(np.floor(y - reach_px), 0, height - window).astype(int)

    steps = np.arange(window, dtype=np.float32) + np.float32(0.5)
    right_of = (steps[None, :] + (left - x).astype(np.float32)[:, None])[:, None, :]
    below = (steps[None, :] + (top - y).astype(np.float32)[:, None])[:, :, None]
    radius_px = radius.astype(np.float32)[:, None, None]
    cosine = np.cos(offset.angle).astype(np.float32)[:, None, None]
    sine = np.sin(offset.angle).astype(np.float32)[:, None, None]
    unit_x = (right_of * cosine + below * sine) / radius_px
    unit_y = (below * cosine - right_of * sine) / radius_px
    distance = signed_distance(shape.shape, unit_x, unit_y) * radius_px
    coverage = np.clip(np.float32(0.5) - distance, 0, 1)[..., None]

    fill = np.array(shape.fill, dtype=np.float32)
    for index in range(len(time)):
        rows = slice(top[index], top[index] + window)
        columns = slice(left[index], left[index] + window)
        patch = frames[index, rows, columns].astype(np.float32)
        patch += (fill - patch) * coverage[index]
        frames[index, rows, columns] = (patch + np.float32(0.5)).astype(np.uint8)
