"""A picture of a sample: frames of the clip, below them what goes with them, above them what was chosen."""

import textwrap
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ea_data.training.show import Shown

__all__ = ["draw_sheet"]

_COLUMNS: Final = 8
_THUMB: Final = 168
_GAP: Final = 6
_LABEL: Final = 84
_LINE: Final = 17
_CHARACTERS: Final = 110
_LAST_LETTER: Final = 0x24F  # of Latin; what Pillow's own font has
_PAPER: Final = (255, 255, 255)
_INK: Final = (30, 30, 30)
_MARK: Final = (220, 90, 20)


def draw_sheet(shown: Shown, summary: Mapping[str, str]) -> Image.Image:
    """Draw a sample.

    Args:
        shown: The sample.
        summary: Names and texts, for above the frames.
    """
    count = len(shown.frames)
    columns = np.unique(np.linspace(0, count - 1, min(count, _COLUMNS)).round().astype(int)).tolist()
    reference = shown.facts["reference"]
    if reference is not None and reference not in columns:  # always seen, in place of its neighbour
        columns[int(np.argmin([abs(column - reference) for column in columns]))] = reference
    rows = [("clip", shown.frames), ("masked", shown.masked), ("control", shown.control)]
    rows += [("camera rays", None if shown.rays is None else _colours(shown.rays))]
    present = [(name, frames) for name, frames in rows if frames is not None]
    lines = [
        (name if not number else "", part)
        for name, text in summary.items()
        for number, part in enumerate(textwrap.wrap(_written(text), _CHARACTERS) or [""])
    ]
    height, width = _thumb(shown.frames)
    top = _GAP + _LINE * len(lines) + _GAP
    breadth = _LABEL + max(len(columns) * (width + _GAP), _COLUMNS * 88)
    sheet = Image.new("RGB", (breadth, top + _LINE + len(present) * (height + _GAP)), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, line in enumerate(lines):
        for left, text in zip((_GAP, _LABEL), line, strict=True):
            draw.text((left, _GAP + _LINE * number), text, _INK, font)
    for place, column in enumerate(columns):
        label = f"{shown.facts['frames'][column]} ({shown.facts['seconds'][column]:.2f} s)"
        left = _LABEL + place * (width + _GAP)
        draw.text((left, top), label, _MARK if column == reference else _INK, font)
    for row, (name, frames) in enumerate(present):
        y = top + _LINE + row * (height + _GAP)
        draw.text((_GAP, y), name, _INK, font)
        for place, column in enumerate(columns):
            left = _LABEL + place * (width + _GAP)
            sheet.paste(Image.fromarray(frames[column]).resize((width, height)), (left, y))
            if column == reference and not row:
                draw.rectangle((left, y, left + width - 1, y + height - 1), outline=_MARK, width=2)
    return sheet


def _written(text: str) -> str:
    """The text, or a note that the font of the sheet lacks its letters."""
    if all(ord(character) <= _LAST_LETTER for character in text):
        return text
    return f"{len(text)} characters that are not drawn here; see sample.json"


def _thumb(frames: NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width of the small pictures."""
    scale = _THUMB / max(frames.shape[1:3])
    return max(round(frames.shape[1] * scale), 1), max(round(frames.shape[2] * scale), 1)


def _colours(rays_TCHW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Where the lines of sight pass, as colours: grey is through the place of the first camera."""
    place = np.moveaxis(rays_TCHW[:, :3], 1, 3)
    most = max(float(np.abs(place).max()), 1e-6)
    return (127.5 + 127.5 * place / most).astype(np.uint8)
