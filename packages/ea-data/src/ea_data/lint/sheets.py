"""Contact sheets: samples as they are trained, cropped and scaled, with their captions and buckets."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["SheetSample", "draw_sheet"]

_COLUMNS: Final = 4
_TILE: Final = 232
_GAP, _LINE, _TEXT_LINES = 14, 15, 4
_PAPER, _INK, _FAINT, _MOUNT = (255, 255, 255), (30, 30, 30), (110, 110, 110), (236, 236, 236)
_FONT_SIZE: Final = 12
_QUOTES: Final = str.maketrans("‘’“”–—", "''\"\"--")


@dataclass(frozen=True, kw_only=True)
class SheetSample:
    """A sample of the first epoch.

    Attributes:
        number: On the sheets, from 1.
        line: Of its row.
        file: Name of its file.
        text: Its caption, before dropout.
        bucket: Its name.
        frames: Of its clip.
        picture: (H, W, 3) the first frame, as it is trained.
        control: The first frame of its control signal, as large; None without.
    """

    number: int
    line: int
    file: str
    text: str
    bucket: str
    frames: int
    picture: NDArray[np.uint8]
    control: NDArray[np.uint8] | None = None


def draw_sheet(samples: Sequence[SheetSample]) -> Image.Image:
    """Some samples in rows of four, with number, bucket and the beginning of the caption."""
    rows = -(-len(samples) // _COLUMNS)
    height = _TILE + _TEXT_LINES * _LINE + _GAP
    sheet = Image.new("RGB", (_COLUMNS * (_TILE + _GAP) + _GAP, rows * height + _GAP), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    for place, sample in enumerate(samples):
        left, top = _GAP + place % _COLUMNS * (_TILE + _GAP), _GAP + place // _COLUMNS * height
        _mount(sheet, sample, left, top)
        head = f"{sample.number}  {sample.bucket}"
        if sample.frames > 1:
            head += f", {sample.frames} frames"
        lines = [(head, _FAINT), *((line, _INK) for line in _wrapped(sample.text, font, _TEXT_LINES - 1))]
        for number, (line, colour) in enumerate(lines):
            draw.text((left, top + _TILE + 4 + number * _LINE), _cut(line, font), fill=colour, font=font)
    return sheet


def _mount(sheet: Image.Image, sample: SheetSample, left: int, top: int) -> None:
    """Put the picture, and its control signal beside it or below it, in the middle of a square."""
    ImageDraw.Draw(sheet).rectangle((left, top, left + _TILE - 1, top + _TILE - 1), fill=_MOUNT)
    shown = sample.picture
    if sample.control is not None:
        beside = shown.shape[0] >= shown.shape[1]
        axis = 1 if beside else 0
        between = np.full_like(shown.take([0, 0], axis), _MOUNT)
        shown = np.concatenate((shown, between, sample.control), axis)
    height, width = shown.shape[:2]
    scale = _TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    resampling = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    picture = Image.fromarray(shown).resize(size, resampling)
    sheet.paste(picture, (left + (_TILE - size[0]) // 2, top + (_TILE - size[1]) // 2))


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, most: int) -> list[str]:
    """The first lines of a caption."""
    words = _drawable(text)
    if words is None:
        return ["(caption: see the page)"]
    lines = [""]
    for word in words.split(" ") if words else ["(no caption)"]:
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= _TILE or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
        if len(lines) > most:
            return [*lines[: most - 1], f"{lines[most - 1]} ..."]
    return lines


def _drawable(text: str) -> str | None:
    """A caption in the ASCII letters of Pillow's own font, without accents; None where that loses others."""
    plain = unicodedata.normalize("NFKD", " ".join(text.split()).translate(_QUOTES))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return plain if plain.isascii() and plain.isprintable() else None


def _cut(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A line, no wider than a tile."""
    line = line[:_TILE]
    while len(line) > 1 and font.getlength(line) > _TILE:
        line = line[:-4].rstrip() + "..." if len(line) > 4 else line[:-1]
    return line
