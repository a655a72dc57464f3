"""Sizes that have the shape of a given file."""

import math

from ea_app.model_info import ModelInfo
from ea_data.media import MediaInfo


def size_like(found: MediaInfo, info: ModelInfo) -> tuple[int, int]:
    """The size with the shape of a file that has about as many pixels as a model was made for.

    Args:
        found: A picture or a video.
        info: Of the model.

    Returns:
        (width, height), multiples of what the model wants and within its limits.
    """
    aspect = found.width / found.height
    height = math.sqrt(info.native_width * info.native_height / aspect)
    return _fit(height * aspect, info), _fit(height, info)


def _fit(side: float, info: ModelInfo) -> int:
    step = info.size_multiple
    least, most = math.ceil(info.min_side / step) * step, info.max_side // step * step
    return min(max(round(side / step) * step, least), most)
