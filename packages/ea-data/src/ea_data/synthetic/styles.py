"""Looks that a clip can be given without changing what it shows; what a style LoRA learns.

Shapes: T frames, H and W pixels.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["STYLES", "Style", "find_style"]

Frames = NDArray[np.uint8]

_SLACK: Final = 12  # grey values that an autoencoder may be off


@dataclass(frozen=True, kw_only=True)
class Style:
    """A look.

    Attributes:
        name: What options call it.
        summary: One line.
        apply: Gives frames (T, H, W, 3) that look.
        undo: Takes it away again, up to rounding; what was never styled is changed by it.
        shown: Share of the pixels of frames that have it, 0 ... 1.
    """

    name: str
    summary: str
    apply: Callable[[Frames], Frames]
    undo: Callable[[Frames], Frames]
    shown: Callable[[Frames], float]


def _pastel(frames: Frames) -> Frames:
    return (255 - (255 - frames.astype(np.uint16)) // 2).astype(np.uint8)


def _from_pastel(frames: Frames) -> Frames:
    return np.clip(2 * frames.astype(np.int16) - 255, 0, 255).astype(np.uint8)


def _is_pastel(frames: Frames) -> float:
    return float((frames.min(axis=-1) >= 127 - _SLACK).mean())


_FOUND: Final = (
    Style(
        name="pastel",
        summary="every colour mixed half with white",
        apply=_pastel,
        undo=_from_pastel,
        shown=_is_pastel,
    ),
)

STYLES: Final[Mapping[str, Style]] = MappingProxyType({style.name: style for style in _FOUND})
"""Every style, by name."""


def find_style(name: str) -> Style:
    """The style of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in STYLES:
        raise ValueError(f"no style {name!r}; allowed: {', '.join(STYLES)}")
    return STYLES[name]
