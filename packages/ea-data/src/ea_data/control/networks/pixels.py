"""Frames to what networks read, and back."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["fitted", "resized", "to_tensor"]

Pixels = NDArray[np.uint8]

_LONGEST: Final = 4096


def fitted(frame: Pixels, short_side: int, multiple: int) -> Pixels:
    """Scale a frame until its short side has a length, and both sides are multiples of a number.

    A very long frame gets a shorter short side, so that the long one stays below 4096 pixels.
    """
    scale = min(short_side / min(frame.shape[:2]), _LONGEST / max(frame.shape[:2]))
    height, width = (max(1, round(side * scale / multiple)) * multiple for side in frame.shape[:2])
    return resized(frame, height, width)


def resized(picture: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Scale a uint8 or float32 picture: averaged over areas to shrink, else cubic."""
    if picture.shape[:2] == (height, width):
        return picture
    cv2 = load("cv2")
    smaller = height * width < picture.shape[0] * picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def to_tensor(frame: Pixels, device: str) -> "Tensor":
    """(H, W, 3) uint8 as (1, 3, H, W) float32, 0..255."""
    torch = load("torch")
    return torch.from_numpy(frame).to(device).permute(2, 0, 1)[None].float()
