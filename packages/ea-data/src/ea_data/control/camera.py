"""The path of a camera: its text file, and the ray maps that camera models read.

Cameras look along +z with x to the right and y downwards. A text file has the layout of RealEstate10K: one
line that is skipped, then one line per pose with 19 numbers: a time, focal lengths and centre as shares of
width and height (fx fy cx cy), two numbers without meaning, and the 3x4 matrix from world to camera, row by
row. Sources: EasyAnimate's Control-Camera models; for Pluecker rays Sitzmann et al., "Light Field Networks",
2021.

Shapes: T poses or frames, H and W pixels.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from ea_data.control.files import read_text

__all__ = [
    "POSES_PER_SECOND",
    "SOURCE_SIZE",
    "CameraPath",
    "camera_from_text",
    "focal_shares",
    "plucker_rays",
    "read_camera",
]

POSES_PER_SECOND: Final = 24
"""How fast the poses of a file follow each other, as released programs read them."""
SOURCE_SIZE: Final = (1280, 720)
"""Width and height of the footage that normalised focal lengths are taken to belong to."""

_LAYOUT: Final = "19 numbers: time fx fy cx cy 0 0, then 3 rows of 4 of the world-to-camera matrix"
_MAX_VALUE: Final = 1e6
_FOCAL: Final = (0.01, 100.0)
_TOLERANCE: Final = 0.01
_LEAST_DETERMINANT: Final = 0.1


@dataclass(frozen=True, eq=False)
class CameraPath:
    """Where a camera is and how it sees, pose by pose.

    Attributes:
        intrinsics: (T, 4) fx, fy, cx, cy as shares of width and height.
        world_to_camera: (T, 3, 4).
    """

    intrinsics: NDArray[np.float64]
    world_to_camera: NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.intrinsics)
        if count < 1 or self.intrinsics.shape != (count, 4) or self.world_to_camera.shape != (count, 3, 4):
            shapes = f"{self.intrinsics.shape} and {self.world_to_camera.shape}"
            raise ValueError(f"intrinsics and world_to_camera are {shapes}; allowed: (T, 4) and (T, 3, 4)")
        if not (np.isfinite(self.intrinsics).all() and np.isfinite(self.world_to_camera).all()):
            raise ValueError("intrinsics and world_to_camera must be finite numbers")

    def __len__(self) -> int:
        return len(self.intrinsics)

    def stretched(self, frames: int) -> Self:
        """The whole path with another number of poses: values between rows, ends kept, as in training.

        Raises:
            ValueError: Fewer than one frame.
        """
        if frames < 1:
            raise ValueError(f"frames is {frames}; allowed: 1 or more")
        if frames == len(self):
            return self
        values = np.concatenate((self.intrinsics, self.world_to_camera.reshape(-1, 12)), axis=1)
        place = np.linspace(0, len(self) - 1, frames) if frames > 1 else np.zeros(1)
        before = np.minimum(place.astype(int), len(self) - 1)
        after = np.minimum(before + 1, len(self) - 1)
        share = (place - before)[:, None]
        values = values[before] * (1 - share) + values[after] * share
        return type(self)(values[:, :4], values[:, 4:].reshape(-1, 3, 4))

    def fitted(self, frames: int, fps: float) -> Self:
        """The path at the length and rate of a video.

        A path that outlasts the video at `POSES_PER_SECOND` is cut: every int(24 / fps)-th pose, from the
        first one on, as released programs take them. Any other is stretched over the whole video.

        Raises:
            ValueError: Fewer than one frame, or a rate that is not above 0.
        """
        if not (fps > 0 and math.isfinite(fps)):
            raise ValueError(f"fps is {fps}; allowed: above 0, and finite")
        step = max(1, int(min(POSES_PER_SECOND / fps, len(self))))
        taken = slice(0, (frames - 1) * step + 1, step)
        if frames < 1 or len(self.intrinsics[taken]) < frames:
            return self.stretched(frames)
        return type(self)(self.intrinsics[taken], self.world_to_camera[taken])

    def to_text(self) -> str:
        """The path as a text file."""
        rows = np.concatenate(
            (self.intrinsics, np.zeros((len(self), 2)), self.world_to_camera.reshape(-1, 12)), axis=1
        )
        rows = np.round(rows, 9) + 0.0  # no minus before a zero
        return "\n" + "".join("0 " + " ".join(f"{value:.9f}" for value in row) + "\n" for row in rows)


def read_camera(path: str | Path) -> CameraPath:
    """Read a camera text file.

    Raises:
        ValueError: It cannot be read, has no poses, or has a wrong row; one line with the file and the row.
    """
    return camera_from_text(read_text(path), str(path))


def camera_from_text(text: str, name: str) -> CameraPath:
    """Read the content of a camera text file.

    Args:
        text: The content.
        name: What messages call it.

    Raises:
        ValueError: No poses, or a wrong row.
    """
    lines = text.rstrip().split("\n")
    if _is_row(lines[0].split()):
        raise ValueError(
            f"{name} line 1: a pose where programs skip a line; put a line before it, it may be empty"
        )
    rows = [_row(line.split(), f"{name} line {number}") for number, line in enumerate(lines[1:], start=2)]
    if not rows:
        raise ValueError(f"{name} has no poses; expected: one line that is skipped, then lines of {_LAYOUT}")
    values = np.array(rows)
    return CameraPath(values[:, 1:5], values[:, 7:].reshape(-1, 3, 4))


def plucker_rays(
    path: CameraPath, frames: int, height: int, width: int, *, source_size: tuple[int, int] = SOURCE_SIZE
) -> NDArray[np.float32]:
    """Pluecker rays of a path: of every pixel where its line of sight passes, and where it goes.

    Everything is relative to the first pose. Where the video has another shape than the footage that the
    focal lengths belong to, the picture is taken as cut out of its middle.

    Args:
        path: Stretched over the frames if it has another number of poses.
        frames: T.
        height: H.
        width: W.
        source_size: Width and height of that footage.

    Returns:
        (T, 6, H, W): the camera's place crossed with the direction, then the direction, of length 1.

    Raises:
        ValueError: A size below 1, or a path that turns too far between two rows to be stretched.
    """
    if min(frames, height, width, *source_size) < 1:
        sizes = (frames, height, width, *source_size)
        raise ValueError(f"frames, height, width and source_size are {sizes}; allowed: 1 or more")
    path = path.stretched(frames)
    fx, fy = focal_shares(path, height, width, source_size=source_size)
    cx, cy = path.intrinsics[:, 2:].T
    poses = _relative_to_first(path.world_to_camera)
    x_W, y_H = np.arange(width) + 0.5, np.arange(height) + 0.5
    rays = np.empty((frames, 6, height, width), dtype=np.float32)
    for i in range(frames):
        across_W = (x_W - cx[i] * width) / (fx[i] * width)
        down_H = (y_H - cy[i] * height) / (fy[i] * height)
        seen = np.stack(np.broadcast_arrays(across_W[None], down_H[:, None], np.ones((height, width))))
        direction = np.einsum("ij,jhw->ihw", poses[i, :, :3], seen / np.linalg.norm(seen, axis=0))
        rays[i, :3] = np.cross(poses[i, :, 3], direction, axisa=0, axisb=0, axisc=0)
        rays[i, 3:] = direction
    return rays


def focal_shares(
    path: CameraPath, height: int, width: int, *, source_size: tuple[int, int] = SOURCE_SIZE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Focal lengths of a path for a picture that is cut out of the middle of its footage.

    Args:
        path: T poses.
        height: Of the picture, pixels.
        width: Of the picture, pixels.
        source_size: Width and height of the footage.

    Returns:
        fx as shares of the picture's width and fy of its height, each (T,).
    """
    fx, fy = path.intrinsics[:, :2].T
    ratio = source_size[0] / source_size[1]
    if ratio > width / height:
        return fx * (height * ratio) / width, fy
    return fx, fy * (width / ratio) / height


def _relative_to_first(world_to_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, 3, 4) from each camera to the first one."""
    if np.linalg.det(world_to_camera[:, :, :3]).min() < _LEAST_DETERMINANT:
        raise ValueError("the camera turns too far between two poses to fill in the others; give more poses")
    whole = np.zeros((len(world_to_camera), 4, 4))
    whole[:, :3], whole[:, 3, 3] = world_to_camera, 1
    poses = whole[0] @ np.linalg.inv(whole)
    poses[0] = np.eye(4)
    return poses[:, :3]


def _is_row(words: list[str]) -> bool:
    try:
        return len([float(word) for word in words]) == 19
    except ValueError:
        return False


def _row(words: list[str], place: str) -> list[float]:
    """The values of a line, checked."""
    if len(words) != 19:
        raise ValueError(f"{place}: {len(words)} values; expected: {_LAYOUT}")
    values = [_number(word, f"{place}, value {number}") for number, word in enumerate(words, start=1)]
    if not all(_FOCAL[0] <= focal <= _FOCAL[1] for focal in values[1:3]):
        allowed = f"shares of width and height from {_FOCAL[0]:g} to {_FOCAL[1]:g}, not pixels"
        raise ValueError(f"{place}: fx and fy are {words[1]} and {words[2]}; expected: {allowed}")
    if max(map(abs, values[3:])) > _MAX_VALUE:
        raise ValueError(f"{place}: a value beyond {_MAX_VALUE:g}; expected: {_LAYOUT}")
    turn = np.array(values[7:]).reshape(3, 4)[:, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > _TOLERANCE or np.linalg.det(turn) < 0:
        raise ValueError(
            f"{place}: values 8-10, 12-14 and 16-18 are no rotation; expected: three rows of length 1 at "
            "right angles, not mirrored"
        )
    return values


def _number(word: str, place: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise ValueError(f"{place}: {word[:40]!r} is no number; expected: {_LAYOUT}") from None
    if not math.isfinite(value):
        raise ValueError(f"{place}: {word[:40]} is not finite; expected: {_LAYOUT}")
    return value
