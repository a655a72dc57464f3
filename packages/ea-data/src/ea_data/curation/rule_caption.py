"""Captions without a model: what is known of a clip, and what was measured, in plain sentences."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["colour_words", "rule_caption"]

_CAMERA: Final = {
    "static": "The camera stands still.",
    "pan left": "The camera pans left.",
    "pan right": "The camera pans right.",
    "tilt up": "The camera tilts up.",
    "tilt down": "The camera tilts down.",
    "zoom in": "The camera moves in.",
    "zoom out": "The camera moves out.",
    "roll left": "The camera rolls to the left.",
    "roll right": "The camera rolls to the right.",
    "moving": "The camera moves.",
}
_HUES: Final = (
    (12, "red"), (40, "orange"), (68, "yellow"), (165, "green"), (200, "cyan"), (258, "blue"),
    (300, "purple"), (340, "pink"), (361, "red"),
)  # fmt: skip
_GREYS: Final = ((45, "black"), (200, "grey"), (256, "white"))
_LEAST_SHARE: Final = 0.2
_LEAST_LETTERS: Final = 3
_CONTENTLESS: Final = re.compile(
    r"\A(?:video|clip|image|img|pic|photo|movie|file|scene|dsc|dscn|mov|vid|frame|untitled|download)?[\s_-]*"
    r"[0-9a-f\s_-]*\Z",
    re.IGNORECASE,
)


def rule_caption(columns: Mapping[str, Any], name: str, kind: str, colours: list[str]) -> str:
    """A caption.

    Args:
        columns: `text` is taken as it is; `class` and `camera` are told where they are known.
        name: Of the file, which may say what it shows.
        kind: "video" or "image".
        colours: See `colour_words`.
    """
    if text := str(columns.get("text") or "").strip():
        return text
    noun = "picture" if kind == "image" else "video"
    subject = str(columns.get("class") or "") or _subject(name)
    head = f"A {noun} of {subject}" if subject else f"A {noun}"
    if colours:
        head += f" in {' and '.join(colours)}"
    camera = _CAMERA.get(str(columns.get("camera") or ""), "")
    return f"{head}. {camera}".strip()


def colour_words(frames: NDArray[np.uint8], most: int = 2) -> list[str]:
    """The colours that cover most of frames (N, H, W, 3), the largest first."""
    pixels = frames[:, ::4, ::4].reshape(-1, 3).astype(np.int64)
    high, low = pixels.max(axis=1), pixels.min(axis=1)
    spread = high - low
    red, green, blue = pixels.T
    safe = np.maximum(spread, 1)
    hue = (
        np.where(
            high == red,
            (green - blue) / safe % 6,
            np.where(high == green, (blue - red) / safe + 2, (red - green) / safe + 4),
        )
        * 60
    )
    grey = (spread < 0.18 * np.maximum(high, 1)) | (high < _GREYS[0][0])
    names = np.where(grey, _named(high, _GREYS), _named(hue, _HUES))
    found, counts = np.unique(names, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [str(found[place]) for place in order[:most] if counts[place] >= _LEAST_SHARE * len(pixels)]


def _named(values: NDArray[Any], table: tuple[tuple[int, str], ...]) -> NDArray[np.str_]:
    borders = [border for border, _ in table]
    words = np.array([word for _, word in table])
    return words[np.minimum(np.searchsorted(borders, values, side="right"), len(words) - 1)]


def _subject(name: str) -> str:
    """The words of a file's name, if it has any; `_0_1` at its end counts clips."""
    stem = re.sub(r"(_[0-9]+)+\Z", "", PurePosixPath(name).stem)
    if _CONTENTLESS.match(stem) or sum(letter.isalpha() for letter in stem) < _LEAST_LETTERS:
        return ""
    words = re.sub(r"[_.\s-]+", " ", stem).strip()
    # Sizes, rates and codes in a name tell nothing of the picture.
    kept = [word for word in words.split() if not any(letter.isdigit() for letter in word)]
    return " ".join(kept).lower()
