"""Captions without a model."""

from dataclasses import dataclass
from typing import Any, Literal

from ea_data.curation.reading import sampled
from ea_data.curation.rule_caption import colour_words, rule_caption
from ea_data.curation.stage import Item, ItemStage

__all__ = ["Captions", "CaptionsOptions"]


@dataclass(frozen=True, kw_only=True)
class CaptionsOptions:
    """Where captions come from.

    Attributes:
        method: `rule`, the text that came with a file, else a sentence of its class or name, its colours and
            what the camera does; `given`, only the text that came with it; rows without one end.
    """

    method: Literal["rule", "given"] = "rule"


class Captions(ItemStage[CaptionsOptions]):
    """A caption of what is known and was measured; it invents nothing."""

    name = "captions"
    summary = "the text that came with a file, or a plain sentence of what was measured"
    options_type = CaptionsOptions
    kinds = ("video", "image", "text")
    needs = ("stem",)
    uses = ("text", "class", "camera")
    gives = ("caption",)

    def measure(self, item: Item) -> dict[str, Any]:
        """`caption`: one line."""
        given = str(item.columns.get("text") or "").strip()
        if given:
            return {"caption": " ".join(given.split())}
        if self.options.method == "given" or item.kind == "text":
            raise ValueError("no text came with the file")
        colours = colour_words(sampled(item.path, item.kind, 3))
        return {"caption": rule_caption(item.columns, str(item.columns["stem"]), item.kind, colours)}
