"""Frozen, blurred, dark, washed out and empty clips.

Blur is measured as the width of the sharpest edges: the range of luma divided by the steepest slope. A clip
of which not even these are narrow was out of focus, or scaled up.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.curation.ranges import check_ranges, outside
from ea_data.curation.reading import Pixels, grey, load_cv2, opened, sampled, scaled
from ea_data.curation.stage import Item, ItemStage

__all__ = ["Quality", "QualityOptions", "edge_width"]

_STEEPEST: Final = 99.5
"""Percentile of slopes that counts as the steepest one; noise has some that are steeper."""
_SIDE: Final = 1280
_FRAMES: Final = 5
_GRID: Final = 16
_STILL: Final = 1.5
"""Of 255: what coding changes in a block of a frame that stays as it is."""
_ENDS: Final = 1.0
"""Percent of the pixels at both ends that contrast leaves out."""
_WIDEST: Final = 1000.0
_RATE: Final = 8.0
"""Frames a second that are looked at for standing still."""


@dataclass(frozen=True, kw_only=True)
class QualityOptions:
    """What a clip may look like.

    Attributes:
        most_frozen: Seconds for which a video may stand still.
        most_edge_width: Pixels of the sharpest edges, the median over frames; sharp pictures have 2 to 7. Of
            a picture with more than 1280 pixels on its longer side, as if it had so many.
        least_light: Mean luma, 0 to 255.
        most_light: Mean luma, 0 to 255.
        least_contrast: Range of luma within a frame, 0 to 255, the median over frames.
    """

    most_frozen: float = 1.0
    most_edge_width: float = 14.0
    least_light: float = 16.0
    most_light: float = 239.0
    least_contrast: float = 24.0

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        byte = (0, 255)
        ranges = {
            "most_frozen": (0, 3600),
            "most_edge_width": (1, 1000),
            "least_light": byte,
            "most_light": byte,
        }
        check_ranges(self, {**ranges, "least_contrast": byte})


class Quality(ItemStage[QualityOptions]):
    """Looks at five frames, and at eight a second for standing still."""

    name = "quality"
    summary = "frozen, blurred, dark, washed out and empty clips go"
    options_type = QualityOptions
    gives = ("frozen", "edge_width", "light", "contrast")
    modules: ClassVar = ("cv2",)
    thresholds: ClassVar = ("most_frozen", "most_edge_width", "least_light", "most_light", "least_contrast")

    def measure(self, item: Item) -> dict[str, Any]:
        """See `gives`: seconds, pixels, 0..255, 0..255."""
        frames = [grey(scaled(frame, _SIDE)) for frame in sampled(item.path, item.kind, _FRAMES)]
        ranges = [np.percentile(frame, [_ENDS, 100 - _ENDS]) for frame in frames]
        return {
            "frozen": 0.0 if item.kind == "image" else round(_longest_stand(item), 3),
            "edge_width": round(float(np.median([edge_width(frame) for frame in frames])), 2),
            "light": round(float(np.mean([frame.mean() for frame in frames])), 2),
            "contrast": round(float(np.median([high - low for low, high in ranges])), 2),
        }

    def verdict(self, columns: Mapping[str, Any]) -> str:
        """The first that is out of its range."""
        options = self.options
        return (
            outside("seconds that stand still", columns["frozen"], most=options.most_frozen)
            or outside("light", columns["light"], least=options.least_light, most=options.most_light)
            or outside("contrast", columns["contrast"], least=options.least_contrast)
            or outside("edge width", columns["edge_width"], most=options.most_edge_width)
        )


def edge_width(frame: Pixels) -> float:
    """Width in pixels of the sharpest edges of a grey frame (H, W); at most 1000, which a flat one has."""
    cv2 = load_cv2()
    luma = frame.astype(np.float32)
    low, high = np.percentile(luma, [_ENDS, 100 - _ENDS])
    slopes = np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)) / 8
    steepest = float(np.percentile(slopes, _STEEPEST))
    return min(_WIDEST, float(high - low) / steepest) if steepest > 0 else _WIDEST


def _longest_stand(item: Item) -> float:
    """Seconds of the longest part in which no block of the picture changes."""
    with opened(item.path) as reader:
        step = max(1, round(reader.fps / _RATE))
        numbers = list(range(0, len(reader), step))
        height, width = reader[0].shape[:2]
        first: NDArray[np.float32] | None = None
        longest, begin = 0.0, 0.0
        for start in range(0, len(numbers), 64):
            part = numbers[start : start + 64]
            small = reader.read(part, size=(_GRID * 4, _GRID * 4), crop=(0, 0, height, width))
            for number, frame in zip(part, small, strict=True):
                blocks = frame.reshape(_GRID, 4, _GRID, 4, 3).mean(axis=(1, 3), dtype=np.float32)
                seconds = float(reader.seconds[number])
                if first is None or float(np.abs(blocks - first).max()) > _STILL:
                    first, begin = blocks, seconds
                longest = max(longest, seconds - begin)
        return longest
