"""Sizes and places of what is scaled and cut out, rounded as the original programs round them."""

from typing import Literal

__all__ = [
    "Rounding",
    "centre_offset",
    "cover_size",
    "shrink_size",
]

Rounding = Literal["down", "nearest"]


def cover_size(
    height: int, width: int, crop_height: int, crop_width: int, *, rounding: Rounding = "down"
) -> tuple[int, int]:
    """Size to which a picture is scaled to cover a crop: one side fits, the other is rounded.

    Args:
        height: Of the picture.
        width: Of the picture.
        crop_height: Of what is cut out of it.
        crop_width: Of what is cut out of it.
        rounding: EasyAnimate rounds down, Open-Sora to the nearest.

    Returns:
        Height and width, neither below the crop's.

    Raises:
        ValueError: A size below 1.
    """
    if min(height, width, crop_height, crop_width) < 1:
        raise ValueError(f"sizes are {(height, width)} and {(crop_height, crop_width)}; allowed: 1 or more")
    whole = int if rounding == "down" else round
    if height / width > crop_height / crop_width:
        return max(whole(height * crop_width / width), crop_height), crop_width
    return crop_height, max(whole(width * crop_height / height), crop_width)


def shrink_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Size of a picture whose short side is reduced to `short_side`; a smaller picture keeps its own.

    Raises:
        ValueError: A size below 1.
    """
    if min(height, width, short_side) < 1:
        raise ValueError(
            f"height, width and short_side are {(height, width, short_side)}; allowed: 1 or more"
        )
    if min(height, width) <= short_side:
        return height, width
    if height < width:
        return short_side, int(width * short_side / height)
    return int(height * short_side / width), short_side


def centre_offset(size: int, crop: int, *, rounding: Rounding = "nearest") -> int:
    """Where a centred crop begins.

    Args:
        size: Of the picture along one side.
        crop: Of the crop, at most `size`.
        rounding: Of half a pixel: "nearest" to the even number (EasyAnimate, and pictures in Open-Sora),
            "down" (videos in Open-Sora).

    Raises:
        ValueError: A crop that is larger than the picture.
    """
    if not 1 <= crop <= size:
        raise ValueError(f"crop is {crop}; allowed: 1 to the size {size}")
    half = (size - crop) / 2
    return int(half) if rounding == "down" else round(half)
