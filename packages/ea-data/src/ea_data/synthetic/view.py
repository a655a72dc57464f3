"""How a moving camera sees planes that face it: where their points go in the picture.

The camera is that of `ea_data.control.camera`: a point of the world is turned and shifted into the camera by
the 3x4 matrix of a pose and divided by its depth. For a plane that faces the camera, under moves that keep it
facing, that is a similarity of the picture: scale, turn, shift.

Shapes: T frames.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ea_data.control.camera import CameraPath, focal_shares

__all__ = ["View", "view_of"]

Array = NDArray[np.float64]
Coordinates = NDArray[np.floating[Any]]
_FACING = 1e-9


class View(NamedTuple):
    """Where a plane's points go: from pixels in the first frame to pixels in every frame.

    Attributes:
        scale: (T,).
        turn: (T,) clockwise, radians.
        shift_x: (T,) pixels, right positive.
        shift_y: (T,) pixels, down positive.
        centre: x and y of the point of the picture that the camera looks at, pixels.
    """

    scale: Array
    turn: Array
    shift_x: Array
    shift_y: Array
    centre: tuple[float, float]

    def to_frames(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Places in every frame of points given as first-frame pixels, each (T,)."""
        right, down = x - self.centre[0], y - self.centre[1]
        cosine, sine = self.scale * np.cos(self.turn), self.scale * np.sin(self.turn)
        return (
            self.centre[0] + cosine * right - sine * down + self.shift_x,
            self.centre[1] + sine * right + cosine * down + self.shift_y,
        )

    def to_first(self, frame: int, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
        """First-frame pixels that are seen at pixels of a frame; any shapes that broadcast."""
        right = x - self.centre[0] - self.shift_x[frame]
        down = y - self.centre[1] - self.shift_y[frame]
        cosine, sine = np.cos(self.turn[frame]), np.sin(self.turn[frame])
        return (
            self.centre[0] + (cosine * right + sine * down) / self.scale[frame],
            self.centre[1] + (cosine * down - sine * right) / self.scale[frame],
        )


def view_of(path: CameraPath, depth: float, height: int, width: int) -> View:
    """How a path sees the plane at a depth from its first pose.

    Args:
        path: T poses.
        depth: Units from the first camera to the plane, above 0.
        height: Of the picture, pixels.
        width: Of the picture, pixels.

    Raises:
        ValueError: A camera that turns away from the plane or goes through it.
    """
    whole = np.tile(np.eye(4), (len(path), 1, 1))
    whole[:, :3] = path.world_to_camera
    poses = whole @ np.linalg.inv(whole[0])
    away = np.abs(poses[:, :3, :3] - np.eye(3))[:, [0, 1, 2, 2, 2], [2, 2, 0, 1, 2]]
    distance = depth + poses[:, 2, 3]
    if away.max() > _FACING or distance.min() <= 0:
        raise ValueError("the camera must face the plane in every pose and stay in front of it")
    fx, fy = focal_shares(path, height, width)
    cx, cy = path.intrinsics[0, 2:]
    return View(
        scale=depth / distance,
        turn=np.arctan2(poses[:, 1, 0], poses[:, 0, 0]),
        shift_x=fx * width * poses[:, 0, 3] / distance,
        shift_y=fy * height * poses[:, 1, 3] / distance,
        centre=(float(cx * width), float(cy * height)),
    )
