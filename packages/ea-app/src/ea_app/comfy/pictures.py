"""Nodes that draw: the control video of a trajectory, and one video over another.

IMAGE is (T, H, W, 3) in 0 ... 1, MASK is (T, H, W).
"""

from typing import Any, ClassVar, Final

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ea_app.comfy.inputs import CATEGORY, IMAGE
from ea_data.control.trajectory import draw_trajectory, trajectory_from_text

_FEWEST_LETTERS: Final = 10


class CreateTrajectoryBasedOnKJNodes:
    """Draws points that move as the control video of a Control model; the mask only says how large it is."""

    RETURN_TYPES: ClassVar = (IMAGE,)
    RETURN_NAMES: ClassVar = ("image",)
    FUNCTION: ClassVar = "createtrajectory"
    CATEGORY: ClassVar = CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """What ComfyUI shows."""
        return {
            "required": {
                "coordinates": ("STRING", {"forceInput": True}),
                "masks": ("MASK", {"forceInput": True}),
            }
        }

    def createtrajectory(self, coordinates: str | list[str], masks: Tensor) -> tuple[Tensor]:
        """Run the node.

        Args:
            coordinates: A list of points as JSON, one a frame; or a few of those, as KJNodes joins them.
            masks: As large as the video.

        Raises:
            ValueError: What is no list of points.
        """
        texts = [coordinates] if isinstance(coordinates, str) else coordinates
        height, width = masks.shape[-2:]
        paths = []
        for text in texts:
            plain = text.replace("'", '"')
            if len(plain) < _FEWEST_LETTERS:
                raise ValueError(f'coordinates: {text!r}; expected a list such as [{{"x": 10, "y": 20}}]')
            paths += trajectory_from_text(plain, "coordinates", height, width)
        video = draw_trajectory(paths, max(map(len, paths)), height, width)
        return (torch.from_numpy(video).float() / 255,)


class ImageMaximumNode:
    """Shows the brighter pixels of two videos, at the size of the first, as long as both last."""

    RETURN_TYPES: ClassVar = (IMAGE,)
    RETURN_NAMES: ClassVar = ("image",)
    FUNCTION: ClassVar = "imagemaximum"
    CATEGORY: ClassVar = CATEGORY

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        """What ComfyUI shows."""
        return {"required": {"video_1": (IMAGE,), "video_2": (IMAGE,)}}

    def imagemaximum(self, video_1: Tensor, video_2: Tensor) -> tuple[Tensor]:
        """Run the node."""
        if video_1.shape[1:3] != video_2.shape[1:3]:
            channels_first = video_2.movedim(-1, 1)
            video_2 = interpolate(channels_first, size=video_1.shape[1:3]).movedim(1, -1)
        frames = min(len(video_1), len(video_2))
        return (torch.maximum(video_1[:frames], video_2[:frames].to(video_1.dtype)),)
