"""Aspect buckets: a short list of sizes, so that samples of one batch can share one without much cropping.

An aspect is height / width. Source of the sizes: the released training of EasyAnimate (in turn those of
PixArt-alpha), 40 sizes of about 512 x 512 pixels; other sizes scale them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ASPECTS",
    "CROP_WEIGHTS",
    "AspectTable",
    "count_reached",
    "parse_table",
]

_BASE: Final = 512
_MULTIPLE: Final = 16
_PART: Final = 1 << 15


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
        if wrong := [name for name in self.names if not 0 < float(name) < math.inf]:
            raise ValueError(f"the aspect {wrong[0]!r} is no number above 0; allowed: height / width")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def ratios(self) -> NDArray[np.float64]:
        """`names` as numbers."""
        return np.array([float(name) for name in self.names])

    @cached_property
    def limits(self) -> NDArray[np.float64]:
        """The smallest number that is nearer to each aspect than to the next smaller one, rising."""
        return np.array([self._limit(*pair) for pair in pairwise(self._rising)])

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
            found[part] = self.nearest_to(flat_heights[part] / flat_widths[part])
        return found.reshape(heights.shape)

    def nearest_to(self, aspects: NDArray[np.float64]) -> NDArray[np.intp]:
        """As `nearest`, of (N,) aspects that are above 0."""
        return self._rising[count_reached(aspects, self.limits)]

    @cached_property
    def _rising(self) -> NDArray[np.intp]:
        """Buckets by rising aspect, of equal ones the first."""
        return np.unique(self.ratios, return_index=True)[1]

    def _limit(self, lower: int, upper: int) -> float:
        """The smallest float at which `upper` is nearer, or as near and listed before `lower`."""

        def is_reached(aspect: float) -> bool:
            to_lower, to_upper = abs(ratios[lower] - aspect), abs(ratios[upper] - aspect)
            return to_upper < to_lower or (to_upper == to_lower and upper < lower)

        ratios = self.ratios.tolist()
        limit = (ratios[lower] + ratios[upper]) / 2  # but for rounding
        while is_reached(limit):
            limit = math.nextafter(limit, 0)
        while not is_reached(limit):
            limit = math.nextafter(limit, math.inf)
        return limit

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


def count_reached(values: NDArray[Any], limits: NDArray[Any]) -> NDArray[np.intp]:
    """How many of the limits each of (N,) values is not below.

    As `np.searchsorted(limits, values, side="right")`, but several times as fast for few limits and many
    values, since processors compare many numbers at once.
    """
    counts = np.zeros(len(values), np.min_scalar_type(len(limits)))
    reached = np.empty(len(values), bool)
    for limit in limits.tolist():  # Python's numbers leave the values in their type
        np.greater_equal(values, limit, out=reached)
        np.add(counts, reached.view(np.uint8), out=counts)
    return counts.astype(np.intp)


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
