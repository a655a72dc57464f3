"""Control signals of a drawn clip, from what was drawn and not by looking at the pixels.

Shapes: T frames, H and W pixels.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.trajectory import draw_trajectory
from ea_data.synthetic.clips import Clip
from ea_data.synthetic.outlines import coverage

__all__ = ["SIGNALS", "Signal", "canny", "edges", "find_signal", "heat", "masks", "trajectory_text"]

Grey = NDArray[np.uint8]

_DIGITS: Final = 3


def edges(clip: Clip) -> Grey:
    """Outlines of the shapes, smooth lines of about two pixels; what another shape hides is left out.

    Returns:
        (T, H, W), white on black.
    """
    lines = np.zeros(clip.tones.shape, np.float32)
    for drawn in clip.outlines:
        covered, line = coverage(drawn.distance), np.clip(1.5 - np.abs(drawn.distance), 0, 1)
        for index in range(len(lines)):
            window = drawn.window(index)
            behind = lines[index][window] * (1 - covered[index])
            lines[index][window] = np.maximum(behind, line[index])
    return (lines * 255 + 0.5).astype(np.uint8)


def canny(clip: Clip) -> Grey:
    """Lines of one pixel at every border, as a Canny filter draws them; those of patterns too.

    A pixel is white where the shape or second tone that it shows ends: one of its four neighbours shows
    something further back.

    Returns:
        (T, H, W), 255 on 0.
    """
    layer = np.where(_labels(clip) > 0, _labels(clip) + 1, clip.tones.astype(np.uint8))
    lines = np.zeros(layer.shape, dtype=bool)
    lines[:, 1:] |= layer[:, 1:] > layer[:, :-1]
    lines[:, :-1] |= layer[:, :-1] > layer[:, 1:]
    lines[:, :, 1:] |= layer[:, :, 1:] > layer[:, :, :-1]
    lines[:, :, :-1] |= layer[:, :, :-1] > layer[:, :, 1:]
    return lines.astype(np.uint8) * np.uint8(255)


def masks(clip: Clip) -> Grey:
    """What is seen of each shape: black is background, white the front shape, 128 the one behind it.

    Returns:
        (T, H, W): 0 and 255, with two shapes also 128 for the first one.
    """
    levels = np.array([0, 255] if len(clip.outlines) == 1 else [0, 128, 255], np.uint8)
    return levels[_labels(clip)]


def heat(clip: Clip) -> Grey:
    """The trajectories as a model is shown them: `ea_data.control.trajectory.draw_trajectory`.

    Returns:
        (T, H, W).
    """
    _, height, width = clip.tones.shape
    return draw_trajectory(_paths(clip), len(clip.tones), height, width)[..., 0]


def trajectory_text(clip: Clip) -> str:
    """Turning points of the shapes as JSON: a path for each, a point for each frame, in pixels."""
    _, height, width = clip.tones.shape
    paths = [np.round(path, _DIGITS).tolist() for path in _paths(clip)]
    return json.dumps({"width": width, "height": height, "paths": paths}) + "\n"


def camera_text(clip: Clip) -> str:
    """The camera as a text file, a pose for each frame."""
    return clip.camera.to_text()


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A control signal that comes with a clip; one of the two functions makes it.

    Attributes:
        name: What options and folders call it.
        summary: One line: what it shows.
        video: Makes (T, H, W) grey frames.
        text: Makes the content of a file.
        suffix: Of that file.
    """

    name: str
    summary: str
    video: Callable[[Clip], Grey] | None = None
    text: Callable[[Clip], str] | None = None
    suffix: str = ".mp4"


_FOUND: Final = (
    Signal(name="canny", summary="thin lines at every border, of patterns too", video=canny),
    Signal(name="edges", summary="smooth outlines of the shapes", video=edges),
    Signal(name="masks", summary="what is seen of each shape, in grey levels", video=masks),
    Signal(
        name="trajectory",
        summary="turning points of the shapes, as --trajectory reads them",
        text=trajectory_text,
        suffix=".json",
    ),
    Signal(name="heat", summary="these points as a model is shown them", video=heat),
    Signal(name="camera", summary="the camera, as --camera reads it", text=camera_text, suffix=".txt"),
)

SIGNALS: Final[Mapping[str, Signal]] = MappingProxyType({signal.name: signal for signal in _FOUND})
"""Every signal, by name."""


def find_signal(name: str) -> Signal:
    """The signal of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in SIGNALS:
        raise ValueError(f"no control signal {name!r}; allowed: {', '.join(SIGNALS)}")
    return SIGNALS[name]


def _labels(clip: Clip) -> Grey:
    """(T, H, W): 0, or the number of the shape that is seen, from 1."""
    labels = np.zeros(clip.tones.shape, np.uint8)
    for number, drawn in enumerate(clip.outlines, start=1):
        for index in range(len(labels)):
            labels[index][drawn.window(index)][drawn.distance[index] <= 0] = number
    return labels


def _paths(clip: Clip) -> list[NDArray[np.float64]]:
    return [np.stack([track.x, track.y], axis=1) for track in clip.tracks]
