"""Contact sheets of a run: what is kept, and for each stage what it left out, with the reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ea_data.curation.reading import sampled, scaled
from ea_data.curation.row import Row
from ea_data.lint.sheets import SheetSample, draw_sheet
from ea_data.media import MediaError

__all__ = ["SHEETS", "Sheet", "sheets_of"]

SHEETS: Final = "Four frames of each clip, from its beginning to its end; the number is that of the sample."
_FRAMES: Final = 4
_SIDE: Final = 240
_GAP: Final = 6


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A picture.

    Attributes:
        title: Of it on the page.
        file: Its name.
        picture: Some rows.
    """

    title: str
    file: str
    picture: Image.Image


def sheets_of(rows: Sequence[Row], most: int, order: Sequence[str]) -> Iterator[Sheet]:
    """A sheet of what is kept, and one for each stage that left rows out.

    Args:
        rows: All of them.
        most: Rows on a sheet; they are taken from all of them at equal distances.
        order: Labels of all stages, in which sheets come.
    """
    groups: dict[str, list[Row]] = {stage: [] for stage in ("", *order)}
    for row in rows:
        groups["" if row.fate is None else row.fate.stage].append(row)
    for number, (stage, group) in enumerate(groups.items()):
        samples = list(_samples(group, most))
        if not samples:
            continue
        shown = "" if len(group) == len(samples) else f", {len(samples)} of them shown"
        if len(samples) < min(most, len(group)):
            shown += "; others cannot be read"
        title = (
            f"Left out by {stage}: {len(group)} rows{shown}" if stage else f"Kept: {len(group)} rows{shown}"
        )
        yield Sheet(title=title, file=f"sheet-{number}.jpg", picture=draw_sheet(samples))


def _samples(rows: Sequence[Row], most: int) -> Iterator[SheetSample]:
    number = 0
    for place in np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)).tolist():
        row = rows[place]
        picture = _picture(row)
        if picture is None:
            continue
        number += 1
        seconds = row.columns.get("seconds")
        caption = str(row.columns.get("caption", row.columns.get("text", "")))
        yield SheetSample(
            number=number,
            line=0,
            file=row.name,
            text=caption if row.fate is None else row.fate.reason,
            bucket=row.name if not seconds else f"{seconds:.3g} s of {row.name.rpartition('#')[2]}",
            frames=1,
            picture=picture,
        )


def _picture(row: Row) -> NDArray[np.uint8] | None:
    """Frames in a square; None for a file that cannot be read, or is none."""
    if row.kind == "text":
        return None
    try:
        frames = [scaled(frame, _SIDE) for frame in sampled(row.path, row.kind, _FRAMES)]
    except (MediaError, ValueError):
        return None
    if len(frames) == 1:
        return frames[0]
    frames += [frames[-1]] * (_FRAMES - len(frames))
    height, width = frames[0].shape[:2]
    sheet = np.full((2 * height + _GAP, 2 * width + _GAP, 3), 255, np.uint8)
    for number, frame in enumerate(frames):
        top, left = number // 2 * (height + _GAP), number % 2 * (width + _GAP)
        sheet[top : top + height, left : left + width] = frame
    return sheet
