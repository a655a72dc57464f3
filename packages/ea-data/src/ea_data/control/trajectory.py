"""Points that move through the picture, drawn as spots of heat: the control video of trajectory control.

A file is JSON: a list of paths, each a list of points such as {"x": 10, "y": 20} or [10, 20], in pixels of
the video with y downwards; or one path alone; or {"width": ..., "height": ..., "paths": [...]}, where points
are pixels of a picture of that size. Source of the drawing: the node CreateTrajectoryBasedOnKJNodes of
EasyAnimate for ComfyUI.

Shapes: T frames, H and W pixels.
"""

import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.files import read_text
from ea_data.parsing import json_reason

__all__ = [
    "Path2D",
    "draw_trajectory",
    "read_trajectory",
    "trajectory_from_text",
]

Path2D = NDArray[np.float64]
"""(P, 2): x and y of every point."""

_SPOT: Final = 200
_SIGMA: Final = 40.0
_RADIUS: Final = 50
_RADIUS_PIXELS: Final = 1280 * 720
_LEAST_SIDE: Final = 3
_MAX_PLACE: Final = 1e6
_POINT: Final = '{"x": 10, "y": 20} or [10, 20]'


def read_trajectory(path: str | Path, height: int, width: int) -> list[Path2D]:
    """Read a trajectory file.

    Args:
        path: A JSON file.
        height: Of the video, pixels.
        width: Of the video, pixels.

    Returns:
        One array per path, in pixels of the video.

    Raises:
        ValueError: It cannot be read or is no trajectory; one line with the file and the place in it.
    """
    return trajectory_from_text(read_text(path), str(path), height, width)


def trajectory_from_text(text: str, name: str, height: int, width: int) -> list[Path2D]:
    """Read the content of a trajectory file.

    Args:
        text: The content.
        name: What messages call it.
        height: Of the video, pixels.
        width: Of the video, pixels.

    Raises:
        ValueError: It is no trajectory.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} line {error.lineno} column {error.colno}: not JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        raise ValueError(f"{name}: not JSON: {json_reason(error)}") from None
    scale = (1.0, 1.0)
    if isinstance(value, dict):
        if unknown := sorted(set(value) ^ {"width", "height", "paths"}):
            raise ValueError(
                f"{name}: {unknown[0]!r} is missing or unknown; allowed: width, height and paths"
            )
        sides = [_number(value[key], f"{name}: {key}", 1) for key in ("width", "height")]
        scale = (width / sides[0], height / sides[1])
        value = value["paths"]
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name}: {_shown(value)}; expected a list of paths, each a list of points {_POINT}")
    paths = [value] if _is_point(value[0]) else value
    found = [_path(path, name if paths is not value else f"{name}: path {number}")
             for number, path in enumerate(paths, start=1)]  # fmt: skip
    return [path * scale for path in found]


def draw_trajectory(paths: list[Path2D], frames: int, height: int, width: int) -> NDArray[np.uint8]:
    """Draw paths as a video: a spot of heat at each path's point of the frame, on black.

    Spots have a radius of 50 pixels at 1280x720, in proportion to the root of the number of pixels. As
    released, a spot at the edge of the picture is squeezed into what is left of its square, and left out
    where that is 3 pixels or less.

    Args:
        paths: In pixels of the video. A path with another number of points than frames is filled in or
            thinned out evenly over time; one point stays where it is.
        frames: T.
        height: H.
        width: W.

    Returns:
        (T, H, W, 3), 0 to 255, the channels equal; where spots meet the warmer one shows.

    Raises:
        ValueError: A size below 1, no path, or a path of another shape.
    """
    if min(frames, height, width) < 1:
        raise ValueError(f"frames, height and width are {(frames, height, width)}; allowed: 1 or more")
    if not paths or any(path.ndim != 2 or path.shape[1] != 2 or not len(path) for path in paths):
        raise ValueError(f"paths are {[path.shape for path in paths]}; allowed: one or more of (P, 2)")
    radius = int(_RADIUS * math.sqrt(height * width / _RADIUS_PIXELS))
    spot, made = _spot(), np.zeros((frames, height, width), dtype=np.uint8)
    for path in paths:
        for frame, (x, y) in zip(made, np.rint(_at_frames(path, frames)).astype(int)):
            top, bottom = max(y - radius, 0), min(y + radius, height - 1)
            left, right = max(x - radius, 0), min(x + radius, width - 1)
            if min(bottom - top, right - left) > _LEAST_SIDE:
                square = frame[top:bottom, left:right]
                np.maximum(square, _resize(spot, bottom - top, right - left), out=square)
    return np.repeat(made[..., None], 3, axis=3)


def _spot() -> NDArray[np.uint8]:
    """A Gaussian of 200x200 pixels, cut off by a disc."""
    offsets = np.arange(_SPOT) - _SPOT // 2
    squares = offsets[:, None] ** 2 + offsets**2
    heat = np.exp(-squares / (2 * _SIGMA**2)) * (squares <= (_SPOT // 2 - 1) ** 2)
    return (heat * 255).astype(np.uint8)


def _resize(spot: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Bilinear without a low-pass filter."""
    before_H, after_H, share_H = _neighbours(len(spot), height)
    before_W, after_W, share_W = _neighbours(spot.shape[1], width)
    rows = spot[before_H] * (1 - share_H)[:, None] + spot[after_H] * share_H[:, None]
    return np.rint(rows[:, before_W] * (1 - share_W) + rows[:, after_W] * share_W).astype(np.uint8)


def _neighbours(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """For each new pixel the two old ones around its centre, and the share of the second."""
    place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    before = np.floor(place).astype(np.intp)
    return before, np.minimum(before + 1, old - 1), place - before


def _at_frames(path: Path2D, frames: int) -> Path2D:
    if len(path) == frames:
        return path
    place = np.linspace(0, len(path) - 1, frames)
    known = np.arange(len(path))
    return np.stack([np.interp(place, known, path[:, axis]) for axis in (0, 1)], axis=1)


def _path(value: Any, place: str) -> Path2D:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{place}: {_shown(value)}; expected a list of points such as {_POINT}")
    return np.array(
        [_point(point, f"{place}, point {number}") for number, point in enumerate(value, start=1)]
    )


def _point(value: Any, place: str) -> list[float]:
    if not _is_point(value) or (isinstance(value, dict) and set(value) != {"x", "y"}) or len(value) != 2:
        raise ValueError(f"{place}: {_shown(value)}; expected {_POINT}")
    pair = [value["x"], value["y"]] if isinstance(value, dict) else value
    return [_number(number, f"{place}: {axis}", -_MAX_PLACE) for axis, number in zip("xy", pair)]


def _is_point(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and not isinstance(value[0], list | dict)
    )


def _number(value: Any, place: str, least: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= _MAX_PLACE:
        raise ValueError(f"{place} is {_shown(value)}; expected a number from {least:g} to {_MAX_PLACE:g}")
    return float(value)


def _shown(value: Any) -> str:
    """A JSON value in a message."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except ValueError:  # an integer with thousands of digits
        return "a number that is too long"
    return text if len(text) <= 40 else f"{text[:40]}..."
