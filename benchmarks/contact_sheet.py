"""Many clips in one picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ea_data.synthetic import SceneSpec, caption
from scenes import Seen

Frames = NDArray[np.uint8]

CLIPS = 32
_SHOWN = 4
_WIDE = 1100
_LINE = 14
_GAP = 6
_BYTES = 450_000


def write_sheet(path: Path, clips: Sequence[tuple[SceneSpec, Frames, Seen]]) -> None:
    """Write a png: every clip as four of its frames, the prompt below, green where the judge agrees.

    Prompts are shown in English; "zh" marks those that were given in Chinese. The picture is made smaller
    until it has at most 450 kB.
    """
    chosen = clips[:CLIPS]
    height, width = chosen[0][1].shape[1:3]
    cell_width, cell_height = _SHOWN * width + _GAP, height + _LINE * 2 + _GAP
    columns = max(1, min(4, _WIDE // cell_width))
    rows = -(-len(chosen) // columns)
    sheet = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height + _GAP), "white")
    for index, clip in enumerate(chosen):
        corner = _GAP + index % columns * cell_width, _GAP + index // columns * cell_height
        _draw(sheet, corner, *clip)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        sheet.quantize(256).save(path, optimize=True)
        if path.stat().st_size <= _BYTES:
            return
        sheet = sheet.resize((sheet.width * 4 // 5, sheet.height * 4 // 5), Image.Resampling.LANCZOS)


def _draw(sheet: Image.Image, corner: tuple[int, int], scene: SceneSpec, clip: Frames, seen: Seen) -> None:
    count, height, width, _ = clip.shape
    for place in range(_SHOWN):
        frame = clip[round(place * (count - 1) / (_SHOWN - 1))]
        sheet.paste(Image.fromarray(frame), (corner[0] + place * width, corner[1]))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=10)
    text = caption(scene, "en", scene.variant if scene.language == "en" else 0)
    text = f"{scene.language}: {text}"
    limit = _SHOWN * width
    while draw.textlength(text, font=font) > limit and len(text) > 4:
        text = text[:-4] + "..."
    draw.text((corner[0], corner[1] + height + 1), text, fill="black", font=font)
    verdict = "right" if all(seen.right) else f"seen: {' '.join(seen.found)}"
    colour = "green" if all(seen.right) else "red"
    draw.text((corner[0], corner[1] + height + 1 + _LINE), verdict, fill=colour, font=font)
