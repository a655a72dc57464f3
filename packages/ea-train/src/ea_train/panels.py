"""Clips side by side: a grid that plays, and a sheet of their frames. Shapes: T frames, H and W pixels."""

import math
import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ea_train.samples import Panel

_GAP: Final = 6
_LINE: Final = 15
_LETTER: Final = 7
_LINES: Final = 3
_COLUMNS: Final = 8
_SMALLEST: Final = 128
_LAST_LETTER: Final = 0x24F  # of Latin; what Pillow's own font has
_PAPER: Final = (255, 255, 255)
_INK: Final = (30, 30, 30)


def grid_frames(rows: Sequence[Sequence[Panel]]) -> NDArray[np.uint8]:
    """All clips in one, each over its caption: those of a row beside each other, short rows in columns.

    Args:
        rows: As many panels in each, all of one size and length.

    Returns:
        (T, H, W, 3) uint8 of even height and width.
    """
    wide = max(1, math.isqrt(len(rows))) if len(rows[0]) == 1 else 1
    lines = [
        [panel for row in rows[start : start + wide] for panel in row] for start in range(0, len(rows), wide)
    ]
    frames, height, width = _shown_size(rows[0][0])
    across, text = len(lines[0]), _LINE * _LINES
    size = (across * (width + _GAP) + _GAP, len(lines) * (height + text + _GAP) + _GAP)
    paper = Image.new("RGB", (_even(size[0]), _even(size[1])), _PAPER)
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(12)
    places = []
    for down, line in enumerate(lines):
        for right, panel in enumerate(line):
            left, top = _GAP + right * (width + _GAP), _GAP + down * (height + text + _GAP)
            places.append((panel, left, top))
            for number, part in enumerate(_caption(panel, width, down * wide + right // len(rows[0]))):
                draw.text((left, top + height + _LINE * number), part, _INK, font)
    film = np.repeat(np.asarray(paper)[None], frames, axis=0)
    for panel, left, top in places:
        film[:, top : top + height, left : left + width] = _scaled(panel, (height, width), range(frames))
    return film


def contact_sheet(rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """Some frames of every clip in a row, with its caption above."""
    frames, height, width = _shown_size(rows[0][0])
    chosen = np.unique(np.linspace(0, frames - 1, min(frames, _COLUMNS)).round().astype(int)).tolist()
    panels = [(number, panel) for number, row in enumerate(rows) for panel in row]
    breadth = max(len(chosen) * (width + _GAP) + _GAP, 320)
    each = height + _LINE + _GAP
    sheet = Image.new("RGB", (breadth, len(panels) * each + _GAP), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for place, (number, panel) in enumerate(panels):
        top = _GAP + place * each
        draw.text((_GAP, top), _caption(panel, breadth, number)[0], _INK, font)
        for column, picture in enumerate(_scaled(panel, (height, width), chosen)):
            sheet.paste(Image.fromarray(picture), (_GAP + column * (width + _GAP), top + _LINE))
    return sheet


def _shown_size(panel: Panel) -> tuple[int, int, int]:
    """Frames, height and width on the paper; small clips are shown larger, by a whole factor."""
    frames, height, width, _ = panel.frames_THWC.shape
    factor = max(1, math.ceil(_SMALLEST / max(height, width)))
    return frames, height * factor, width * factor


def _scaled(panel: Panel, size: tuple[int, int], chosen: Sequence[int]) -> NDArray[np.uint8]:
    pictures = panel.frames_THWC[list(chosen)]
    factor = size[0] // pictures.shape[1]
    return pictures.repeat(factor, axis=1).repeat(factor, axis=2)


def _caption(panel: Panel, width: int, number: int) -> list[str]:
    """Lines for below a clip; the number of the prompt where the font lacks its letters."""
    known = all(ord(letter) <= _LAST_LETTER for letter in panel.caption)
    words = panel.caption if known else f"prompt {number + 1}"
    text = f"{panel.label}: {words}" if panel.label else words
    wrap = partial(textwrap.wrap, width=max(width // _LETTER, 8), max_lines=_LINES, placeholder=" ...")
    return wrap(text) or [""]


def _even(length: int) -> int:
    return length + length % 2
