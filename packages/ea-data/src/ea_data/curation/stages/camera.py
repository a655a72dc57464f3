"""What the camera does, in a word: points that are followed tell its shift, zoom and turn.

Sparse flow of Lucas and Kanade, and the similarity that most points agree on (RANSAC), so that a thing that
moves by itself counts little. The median over a clip decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.curation.ranges import check_ranges
from ea_data.curation.reading import Pixels, grey, load_cv2, opened, scaled
from ea_data.curation.stage import Item, ItemStage

__all__ = ["LABELS", "Camera", "CameraOptions", "camera_label"]

_SIDE: Final = 320
_CORNERS: Final = 200
_LEAST_CORNERS: Final = 12
_LEAST_AGREEING: Final = 0.5

LABELS: Final = (
    "static", "pan left", "pan right", "tilt up", "tilt down", "zoom in", "zoom out",
    "roll left", "roll right", "moving", "unknown",
)  # fmt: skip
"""Words that the stage gives: `moving` goes to and fro; `unknown` finds no points to follow."""


@dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """When the camera counts as moving.

    Attributes:
        fps: Frames a second that are compared.
        least_shift: Share of the longer side in a second.
        least_zoom: Share of the size in a second.
        least_turn: Degrees in a second.
    """

    fps: float = 6.0
    least_shift: float = 0.02
    least_zoom: float = 0.03
    least_turn: float = 2.0

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        ranges = {"fps": (0.5, 60), "least_shift": (0, 10), "least_zoom": (0, 10), "least_turn": (0, 360)}
        check_ranges(self, ranges)


class Camera(ItemStage[CameraOptions]):
    """A label; nothing is dropped."""

    name = "camera"
    summary = "what the camera does: " + ", ".join(LABELS)
    options_type = CameraOptions
    kinds = ("video",)
    gives = ("camera",)
    modules: ClassVar = ("cv2",)
    libraries: ClassVar = ("opencv-python-headless",)

    def open(self) -> None:
        """OpenCV."""
        load_cv2()

    def measure(self, item: Item) -> dict[str, Any]:
        """`camera`: one of `LABELS`."""
        with opened(item.path) as reader:
            step = max(1, round(reader.fps / self.options.fps))
            numbers = range(0, len(reader), step)
            frames = (grey(scaled(frame, _SIDE)) for frame in reader.pick(numbers))
            moves = np.array(list(_moves(frames))).reshape(-1, 4) * (reader.fps / step)
        return {"camera": camera_label(moves, self.options)}


def camera_label(moves: NDArray[np.float64], options: CameraOptions) -> str:
    """The label of moves (N, 4) of the picture in a second: right, down (shares of a side), size, degrees."""
    if not len(moves):
        return "unknown"
    limits = np.array([options.least_shift, options.least_shift, options.least_zoom, options.least_turn])
    middle = np.median(moves, axis=0) / limits
    if float(np.abs(middle).max()) < 1:
        # To and fro has no median.
        return "moving" if float(np.median(np.abs(moves) / limits, axis=0).max()) > 2 else "static"
    axis = int(np.abs(middle).argmax())
    # The picture goes the other way than the camera.
    names = (
        ("pan left", "pan right"),
        ("tilt up", "tilt down"),
        ("zoom in", "zoom out"),
        ("roll left", "roll right"),
    )
    return names[axis][0 if middle[axis] > 0 else 1]


def _moves(frames: Iterator[Pixels]) -> Iterator[tuple[float, float, float, float]]:
    """Of each pair of frames that has enough points."""
    cv2 = load_cv2()
    before: Pixels | None = None
    for frame in frames:
        if before is not None:
            points = cv2.goodFeaturesToTrack(before, _CORNERS, 0.01, 8)
            move = None if points is None or len(points) < _LEAST_CORNERS else _move(before, frame, points)
            if move is not None:
                yield move
        before = frame


def _move(first: Pixels, second: Pixels, points: Any) -> tuple[float, float, float, float] | None:
    cv2 = load_cv2()
    cv2.setRNGSeed(0)  # RANSAC draws, and results are to be the same every time
    height, width = first.shape
    followed, status, _ = cv2.calcOpticalFlowPyrLK(first, second, points, None)
    kept = status.ravel() == 1
    if kept.sum() < _LEAST_CORNERS:
        return None
    middle = np.array([width / 2, height / 2], np.float32)
    start, end = points.reshape(-1, 2)[kept] - middle, followed.reshape(-1, 2)[kept] - middle
    matrix, agreeing = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=1.5)
    if matrix is None or agreeing.mean() < _LEAST_AGREEING:
        return None
    size = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    turn = float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
    side = max(width, height)
    return float(matrix[0, 2]) / side, float(matrix[1, 2]) / side, size - 1, turn
