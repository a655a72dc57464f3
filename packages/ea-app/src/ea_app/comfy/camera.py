"""Camera nodes: moves, moves together, one path after the other, and the path as text.

A path is (T, 3, 4) world to camera. Which move does what, and how far, is in `ea_data.control.moves`.
"""

import json
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ea_app.comfy.inputs import CAMERA_CATEGORY, POSE, choice
from ea_data.control.moves import MOVES, motion_poses

Path = NDArray[np.float64]

_MOVES: Final = {
    "Static": "static",
    "Pan Up": "pan up",
    "Pan Down": "pan down",
    "Pan Left": "pan left",
    "Pan Right": "pan right",
    "Zoom In": "zoom in",
    "Zoom Out": "zoom out",
    "ACW": "counter-clockwise",
    "CW": "clockwise",
}
_COMBINED: Final = ("camera_pose1", "camera_pose2", "camera_pose3", "camera_pose4")
_FOCAL: Final = {"min": 0, "max": 1, "step": 0.000000001}
_CENTRE: Final = {"default": 0.5, "min": 0, "max": 1, "step": 0.01}


def _pose_input() -> Any:
    return choice(tuple(_MOVES), "Static")


def _pace() -> dict[str, Any]:
    return {"speed": ("FLOAT", {"default": 1.0}), "video_length": ("INT", {"default": 16})}


def _path(moves: list[str], speed: float, video_length: int) -> Path:
    if video_length < 1:
        raise ValueError(f"video_length: must be at least 1, got {video_length}")
    motion = np.sum([MOVES[_MOVES[move]] for move in moves], axis=0) * speed
    return motion_poses(motion, video_length)[:, :3]


class CameraBasicFromChaoJie:
    """One move."""

    RETURN_TYPES: ClassVar = (POSE,)
    FUNCTION: ClassVar = "run"
    CATEGORY: ClassVar = CAMERA_CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """What ComfyUI shows."""
        return {"required": {"camera_pose": _pose_input(), **_pace()}}

    def run(self, camera_pose: str, speed: float, video_length: int) -> tuple[Path]:
        """Run the node."""
        return (_path([camera_pose], speed, video_length),)


class CameraCombineFromChaoJie:
    """Up to four moves at the same time."""

    RETURN_TYPES: ClassVar = (POSE,)
    FUNCTION: ClassVar = "run"
    CATEGORY: ClassVar = CAMERA_CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """What ComfyUI shows."""
        return {"required": {**{name: _pose_input() for name in _COMBINED}, **_pace()}}

    def run(self, speed: float, video_length: int, **poses: str) -> tuple[Path]:
        """Run the node."""
        return (_path([poses[name] for name in _COMBINED], speed, video_length),)


class CameraJoinFromChaoJie:
    """One path, and then another from where the first ended."""

    RETURN_TYPES: ClassVar = (POSE,)
    FUNCTION: ClassVar = "run"
    CATEGORY: ClassVar = CAMERA_CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """What ComfyUI shows."""
        return {"required": {"camera_pose1": (POSE,), "camera_pose2": (POSE,)}}

    def run(self, camera_pose1: Path, camera_pose2: Path) -> tuple[Path]:
        """Run the node. The given paths stay as they are."""
        last = np.vstack([camera_pose1[-1], [0, 0, 0, 1]])
        return (np.concatenate([camera_pose1, camera_pose2 @ last]),)


class CameraTrajectoryFromChaoJie:
    """A path as the text that samplers take, and its number of frames."""

    RETURN_TYPES: ClassVar = ("STRING", "INT")
    RETURN_NAMES: ClassVar = ("camera_trajectory", "video_length")
    FUNCTION: ClassVar = "run"
    CATEGORY: ClassVar = CAMERA_CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """What ComfyUI shows."""
        return {
            "required": {
                "camera_pose": (POSE,),
                "fx": ("FLOAT", {"default": 0.474812461, **_FOCAL}),
                "fy": ("FLOAT", {"default": 0.844111024, **_FOCAL}),
                "cx": ("FLOAT", dict(_CENTRE)),
                "cy": ("FLOAT", dict(_CENTRE)),
            }
        }

    def run(self, camera_pose: Path, fx: float, fy: float, cx: float, cy: float) -> tuple[str, int]:
        """Run the node: a list of fx, fy, cx, cy, 0, 0 and the rows of the matrix, for every frame."""
        rows = [[fx, fy, cx, cy, 0, 0, *pose.ravel().tolist()] for pose in camera_pose]
        return (json.dumps(rows), len(rows))
