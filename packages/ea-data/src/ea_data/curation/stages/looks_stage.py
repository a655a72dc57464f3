"""What a file looks like, in few bytes, for finding copies."""

import base64
from dataclasses import dataclass
from typing import Any

from ea_data.curation.reading import opened
from ea_data.curation.stage import Item, ItemStage
from ea_data.lint.looks import PRINT_FRAMES, SIDE, looks_of, reduced
from ea_data.media import read_image

__all__ = ["LooksOptions", "LooksStage"]


@dataclass(frozen=True, kw_only=True)
class LooksOptions:
    """It has no options."""


class LooksStage(ItemStage[LooksOptions]):
    """Three frames of 8x8 pixels, as `ea_data.lint` compares files."""

    name = "looks"
    summary = "three tiny frames of every file, for duplicates"
    options_type = LooksOptions
    gives = ("print", "blank")

    def measure(self, item: Item) -> dict[str, Any]:
        """See `gives`."""
        if item.kind == "image":
            samples = reduced(read_image(item.path))[None]
        else:
            with opened(item.path) as reader:
                last = len(reader) - 1
                numbers = [last * place // (PRINT_FRAMES - 1) for place in range(PRINT_FRAMES)]
                height, width = reader[0].shape[:2]
                samples = reader.read(numbers, size=(SIDE, SIDE), crop=(0, 0, height, width))
        looks = looks_of(samples)
        return {"print": base64.b64encode(looks.print).decode(), "blank": looks.is_blank}
