"""Dissolves and fades: one scene goes over into another so slowly that no cut is found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.curation.ranges import check_ranges, outside
from ea_data.curation.reading import Pixels, load_cv2, opened
from ea_data.curation.stage import Item, ItemStage

__all__ = ["Dissolves", "DissolvesOptions", "least_unmixed"]

_FPS: Final = 8
_SIDE: Final = 24
_FINE: Final = 4
_REACHES: Final = (4, 8)
"""Steps from a frame to the two that it is compared with: half a second, and one."""
_UNLIKE: Final = 0.3
"""Correlation of two frames up to which they show different things."""
_CHANGE: Final = 4.0
"""Grey values that two such frames differ by at least."""
_MIDDLE: Final = (0.2, 0.8)
_CONTRAST: Final = 1.1
"""Contrast of a frame up to which it may be a mixture, as a multiple of that of the mixture. A slow pan over
something smooth is nearly the mean of before and after too, but keeps its contrast: 1.13 and
more on drawn pans, 1.06 and less on drawn dissolves."""


@dataclass(frozen=True, kw_only=True)
class DissolvesOptions:
    """What counts as a dissolve.

    Attributes:
        least: Smallest share of a frame that is no mixture of two other ones, 0 to 1.
    """

    least: float = 0.28

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        check_ranges(self, {"least": (0, 1)})


class Dissolves(ItemStage[DissolvesOptions]):
    """Looks for frames that are mixtures of an earlier and a later one which show different things."""

    name = "dissolves"
    version = 2
    summary = "clips with a dissolve or fade go"
    options_type = DissolvesOptions
    kinds = ("video",)
    gives = ("unmixed",)
    modules: ClassVar = ("cv2",)
    thresholds: ClassVar = ("least",)

    def open(self) -> None:
        """OpenCV."""
        load_cv2()

    def measure(self, item: Item) -> dict[str, Any]:
        """`unmixed`: of the frame that is most of all a mixture; 1 without a candidate."""
        with opened(item.path) as reader:
            step = max(1, round(reader.fps / _FPS))
            frames = np.stack([_small(frame) for frame in reader.pick(range(0, len(reader), step))])
        return {"unmixed": round(least_unmixed(frames), 4)}

    def verdict(self, columns: Mapping[str, Any]) -> str:
        """A mixture."""
        return outside("share of a frame that is no mixture", columns["unmixed"], least=self.options.least)


def least_unmixed(frames: NDArray[np.float32]) -> float:
    """How far a frame is at least from being a mixture of those half a second or one before and after.

    A dissolve shows w A + (1 - w) B at every place of the picture, with as little contrast, which nothing
    that moves does for long.

    Args:
        frames: Small ones (T, H, W, 3), 0 to 255, eight a second.

    Returns:
        The distance of a frame to the line through the two, divided by the distance of the two; 1 without two
        frames that show different things and have the frame between them.
    """
    least = 1.0
    for reach in _REACHES:
        before, middle, after = frames[: -2 * reach], frames[reach:-reach], frames[2 * reach :]
        if not len(before):
            continue
        change = (before - after).reshape(len(before), -1)
        way = (middle - after).reshape(len(before), -1)
        length = np.linalg.norm(change, axis=1)
        weight = np.einsum("td,td->t", way, change) / np.maximum(length, 1e-6) ** 2
        rest = np.linalg.norm(way - weight[:, None] * change, axis=1) / np.maximum(length, 1e-6)
        other = (
            (length > _CHANGE * np.sqrt(change.shape[1]))
            & (_likeness(before, after) < _UNLIKE)
            & (weight > _MIDDLE[0])
            & (weight < _MIDDLE[1])
            & (_contrast(middle, before, after, weight) < _CONTRAST)
        )
        least = min(least, float(np.min(rest, initial=1.0, where=other)))
    return least


def _likeness(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """The correlation (T,) of what frames show, whatever their mean colours are."""
    first, second = _patterns(first), _patterns(second)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.einsum("td,td->t", first, second) / np.maximum(lengths, 1e-6)


def _contrast(
    middle: NDArray[np.float32],
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    weight: NDArray[np.float32],
) -> NDArray[np.float32]:
    """How strongly (T,) frames show the pattern of a mixture: 1 as it is, 2 twice as strongly."""
    mixture = weight[:, None] * _patterns(before) + (1 - weight[:, None]) * _patterns(after)
    shown = np.einsum("td,td->t", mixture, _patterns(middle))
    return shown / np.maximum(np.einsum("td,td->t", mixture, mixture), 1e-6)


def _patterns(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """What frames show (T, D), without their mean colours."""
    return (frames - frames.mean(axis=(1, 2), keepdims=True)).reshape(len(frames), -1)


def _small(frame: Pixels) -> NDArray[np.float32]:
    """Without detail: what moves a little is still in its place."""
    cv2 = load_cv2()
    few = cv2.resize(frame, (_FINE * _SIDE, _FINE * _SIDE), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(few, (0, 0), _FINE)
    return cv2.resize(soft, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
