"""Pixel geometry of frames: resize, cover and crop."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

__all__ = [
    "cover_crop",
    "cover_crop_mask",
    "resize",
]

Frames = NDArray[np.uint8]


def resize(frames: Frames, height: int, width: int) -> Frames:
    """Scale (T, H, W, 3) frames to a size with an anti-aliased bicubic filter; proportions may change.

    Raises:
        ValueError: Frames of another shape or type, or a size below 1.
    """
    _check(frames, height, width)
    if frames.shape[1:3] == (height, width):
        return frames
    size = (width, height)
    return np.stack([np.asarray(Image.fromarray(f).resize(size, Resampling.BICUBIC)) for f in frames])


def cover_crop(
    frames: Frames, height: int, width: int, *, resampling: Resampling = Resampling.BICUBIC
) -> Frames:
    """Scale (T, H, W, 3) frames until they cover a size, and cut its centre out; proportions are kept.

    The filter is bicubic, or another one of Pillow's, and anti-aliased.

    Raises:
        ValueError: Frames of another shape or type, or a size below 1.
    """
    _check(frames, height, width)
    _, source_height, source_width, _ = frames.shape
    # The part of the source that is kept, as a box in source pixels: scaling it in one go blurs least.
    scale = max(height / source_height, width / source_width)
    box_width, box_height = min(width / scale, source_width), min(height / scale, source_height)
    left, top = (source_width - box_width) / 2, (source_height - box_height) / 2
    if scale == 1.0 and left.is_integer() and top.is_integer():
        return frames[:, int(top) : int(top) + height, int(left) : int(left) + width]
    box = (left, top, left + box_width, top + box_height)
    pictures = (Image.fromarray(f).resize((width, height), resampling, box=box) for f in frames)
    return np.stack([np.asarray(picture) for picture in pictures])


def cover_crop_mask(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """`cover_crop` for a (T, H, W) mask; a pixel is set when at least half of it was."""
    grey = np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=3)
    return cover_crop(grey, height, width)[..., 0] >= 128


def _check(frames: Frames, height: int, width: int) -> None:
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(
            f"frames are {frames.dtype} {frames.shape}; allowed: uint8 (T, H, W, 3), none of them 0"
        )
    if height < 1 or width < 1:
        raise ValueError(f"height and width are {height} and {width}; allowed: 1 or more")
