"""Captions that can be trained with: cleaned, and neither empty nor too long."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ea_data.curation.caption_text import cleaned
from ea_data.curation.ranges import check_ranges, outside
from ea_data.curation.stage import Item, ItemStage

__all__ = ["Clean", "CleanOptions"]


@dataclass(frozen=True, kw_only=True)
class CleanOptions:
    """What is taken out of captions, and what they must have.

    Attributes:
        addresses: Take out web and mail addresses.
        openings: Take out what models say before a caption, such as "The video shows".
        least: Characters that are left.
        most: Characters that are left.
        forbidden: Words that end a row, in lower case.
    """

    addresses: bool = True
    openings: bool = True
    least: int = 3
    most: int = 2000
    forbidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        check_ranges(self, {"least": (0, 20_000), "most": (1, 20_000)})


class Clean(ItemStage[CleanOptions]):
    """Reads no file."""

    name = "clean"
    summary = "captions without tags, addresses and words to the asker; empty and endless ones go"
    options_type = CleanOptions
    kinds = ("video", "image", "text")
    needs = ("caption",)
    gives = ("caption",)
    thresholds: ClassVar = ("least", "most", "forbidden")

    def measure(self, item: Item) -> dict[str, Any]:
        """`caption`, cleaned."""
        options = self.options
        text = cleaned(str(item.columns["caption"]), addresses=options.addresses, openings=options.openings)
        return {"caption": text}

    def verdict(self, columns: Mapping[str, Any]) -> str:
        """Too short, too long, or with a forbidden word."""
        text, options = str(columns["caption"]), self.options
        words = [word for word in options.forbidden if word.lower() in text.lower()]
        if words:
            return f"the caption has {words[0]!r}"
        return outside("characters of the caption", len(text), least=options.least, most=options.most)
