"""Aspect buckets: a short list of sizes, so that samples of one batch can share one without much cropping.

An aspect is height / width. Source of the sizes: the released training of EasyAnimate (in turn those of
PixArt-alpha), 40 sizes of about 512 x 512 pixels; other sizes scale them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ASPECTS",
    "CROP_WEIGHTS",
    "AspectTable",
    "parse_table",
]

_BASE: Final = 512
_MULTIPLE: Final = 16
_PART: Final = 1 << 14


@dataclass(frozen=True)
class AspectTable:
    """Sizes by aspect.

    Attributes:
        names: The aspects as text, such as "0.57"; the nearest one is chosen by these numbers, not by the
            sides, which are rounded.
        sizes: (height, width) in pixels of each, at the side `base`.
        base: Side of the square with as many pixels, from which `size` scales.
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    base: float = _BASE

    def __post_init__(self) -> None:
        """Refuses a table that nothing can be looked up in."""
        if not self.names or len(self.names) != len(self.sizes):
            raise ValueError(
                f"names has {len(self.names)} entries and sizes {len(self.sizes)}; allowed: as many"
            )

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def ratios(self) -> NDArray[np.float64]:
        """`names` as numbers."""
        return np.array([float(name) for name in self.names])

    def nearest(self, height: ArrayLike, width: ArrayLike) -> NDArray[np.intp]:
        """The bucket whose aspect is nearest to height / width; of two equally near ones the first.

        Args:
            height: One or many heights in pixels.
            width: As many widths.

        Returns:
            Indices of buckets in the shape of the arguments.

        Raises:
            ValueError: A height or width below 1.
        """
        heights, widths = np.broadcast_arrays(np.asarray(height), np.asarray(width))
        if not (np.all(heights >= 1) and np.all(widths >= 1)):
            raise ValueError("a height or width is below 1; allowed: 1 or more pixels")
        found = np.empty(heights.size, np.intp)
        flat_heights, flat_widths = heights.reshape(-1), widths.reshape(-1)
        # In parts that stay in the processor's cache: several times as fast for millions of files.
        for start in range(0, len(found), _PART):
            part = slice(start, start + _PART)
            found[part] = self._nearest(flat_heights[part] / flat_widths[part])
        return found.reshape(heights.shape)

    def _nearest(self, aspect: NDArray[np.float64]) -> NDArray[np.intp]:
        order = np.argsort(self.ratios, kind="stable")
        ascending = self.ratios[order]
        above = np.searchsorted(ascending, aspect).clip(0, len(self) - 1)
        below = (above - 1).clip(0)
        far_below, far_above = np.abs(ascending[below] - aspect), np.abs(ascending[above] - aspect)
        first_listed = np.minimum(order[below], order[above])
        closer = np.where(far_below < far_above, order[below], order[above])
        return np.where(far_below == far_above, first_listed, closer)

    def size(self, index: int, side: float = _BASE, *, multiple: int = _MULTIPLE) -> tuple[int, int]:
        """Height and width of a bucket at another side, cut to multiples.

        Args:
            index: Of the bucket.
            side: Side of the square with as many pixels; a fraction when a resolution was divided.
            multiple: What both sides are whole multiples of.

        Raises:
            ValueError: A side so small that nothing is left.
        """
        height, width = (pixels / self.base * side for pixels in self.sizes[index])
        size = int(height / multiple) * multiple, int(width / multiple) * multiple
        if 0 in size:
            raise ValueError(
                f"side is {side:g}: the aspect {self.names[index]} then has a side below {multiple} pixels; "
                "allowed: larger ones"
            )
        return size


def parse_table(text: str, base: float = _BASE) -> AspectTable:
    """A table from lines of `aspect=HEIGHTxWIDTH`."""
    entries = [entry.split("=") for entry in text.split()]
    sides = [size.split("x") for _, size in entries]
    sizes = tuple((int(height), int(width)) for height, width in sides)
    return AspectTable(tuple(name for name, _ in entries), sizes, base)


ASPECTS: Final = parse_table("""
    0.25=256x1024 0.26=256x992 0.27=256x960 0.28=256x928 0.32=288x896 0.33=288x864 0.35=288x832 0.4=320x800
    0.42=320x768 0.48=352x736 0.5=352x704 0.52=352x672 0.57=384x672 0.6=384x640 0.68=416x608 0.72=416x576
    0.78=448x576 0.82=448x544 0.88=480x544 0.94=480x512 1.0=512x512 1.07=512x480 1.13=544x480 1.21=544x448
    1.29=576x448 1.38=576x416 1.46=608x416 1.67=640x384 1.75=672x384 2.0=704x352 2.09=736x352 2.4=768x320
    2.5=800x320 2.89=832x288 3.0=864x288 3.11=896x288 3.62=928x256 3.75=960x256 3.88=992x256 4.0=1024x256
""")
"""The 40 buckets of EasyAnimate."""

CROP_WEIGHTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "0.42": 1,
        "0.5": 2,
        "0.57": 4,
        "0.68": 4,
        "0.78": 4,
        "0.88": 4,
        "0.94": 8,
        "1.0": 8,
        "1.07": 8,
        "1.13": 4,
        "1.29": 4,
        "1.46": 4,
        "1.75": 4,
        "2.0": 2,
        "2.4": 1,
    }
)  # fmt: skip
"""The 15 of `ASPECTS` that `random_ratio_crop` draws from, and how often relative to each other."""
