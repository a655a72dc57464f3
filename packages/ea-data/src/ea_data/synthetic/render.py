"""From a scene to pixels: anti-aliased by distance, any size and length."""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.synthetic.motion import times
from ea_data.synthetic.outlines import outline, paint, track_of
from ea_data.synthetic.scene import BackgroundSpec, SceneSpec, ShapeSpec

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
    background = background_picture(spec.background, height, width)
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


def background_picture(spec: BackgroundSpec, height: int, width: int) -> NDArray[np.float32]:
    """Background picture (height, width, 3), 0..255."""
    first, second = (np.array(rgb, dtype=np.float32) for rgb in spec.rgb)
    if spec.kind == "plain":
        return np.broadcast_to(first, (height, width, 3))
    return (first + (second - first) * second_tone(spec, height, width)[..., None]).astype(np.float32)


def second_tone(spec: BackgroundSpec, height: int, width: int) -> NDArray[np.floating[Any]]:
    """Share of a background's second colour in every pixel, (height, width), 0..1."""
    if spec.kind == "plain":
        return np.zeros((height, width), np.float32)
    short = min(height, width)
    y = ((np.arange(height, dtype=np.float32) + 0.5) - height / 2)[:, None] / short
    x = ((np.arange(width, dtype=np.float32) + 0.5) - width / 2)[None, :] / short
    along = x * np.float32(math.cos(spec.angle)) + y * np.float32(math.sin(spec.angle))
    if spec.kind == "gradient":
        span = (abs(math.cos(spec.angle)) * width + abs(math.sin(spec.angle)) * height) / short
        return np.clip(along / np.float32(span) + 0.5, 0, 1)
    # A triangle wave is the distance to the edge of the stripe: clip it to one pixel for a smooth edge.
    position = np.mod(along / np.float32(spec.period) + np.float32(spec.phase), 1.0)
    edge = (0.25 - np.abs(position - 0.5)) * np.float32(spec.period * short)
    return np.clip(edge + 0.5, 0, 1)


def _draw(frames: Frames, shape: ShapeSpec, time: NDArray[np.float64]) -> None:
    """Paint one shape over the frames, in place."""
    _, height, width, _ = frames.shape
    paint(frames, outline(shape.shape, track_of(shape, time, height, width), height, width), shape.fill)
