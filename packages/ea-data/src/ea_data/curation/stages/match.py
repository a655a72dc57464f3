"""Whether a caption fits its clip: the likeness of text and pictures to CLIP or SigLIP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ea_data.curation.embedding import MODULES, Embedder, download_line
from ea_data.curation.network_marks import network_mark
from ea_data.curation.ranges import check_ranges, outside
from ea_data.curation.reading import sampled
from ea_data.curation.stage import Item, ItemStage

__all__ = ["Match", "MatchOptions"]


@dataclass(frozen=True, kw_only=True)
class MatchOptions:
    """Which network compares, and what is accepted.

    Attributes:
        family: `clip` or `siglip`.
        weights: Directory, or OWNER/NAME[@REVISION] of the hub.
        frames: Of a video, at equal distances.
        device: Of torch.
        offline: Download nothing.
        least: Likeness that is accepted, the mean over frames, -1 to 1.
    """

    family: Literal["clip", "siglip"] = "clip"
    weights: str = "openai/clip-vit-large-patch14@32bd64288804d66eefd0ccbe215aa642df71cc41"
    frames: int = 3
    device: str = "cpu"
    offline: bool = False
    least: float = 0.2

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        check_ranges(self, {"frames": (1, 64), "least": (-1, 1)})


class Match(ItemStage[MatchOptions]):
    """The cosine of the vectors of a caption and of frames."""

    name = "match"
    summary = "clips whose caption does not fit go; CLIP or SigLIP"
    options_type = MatchOptions
    needs = ("caption",)
    gives = ("match_score",)
    thresholds: ClassVar = ("least",)
    ways: ClassVar = ("device", "offline")
    modules: ClassVar = MODULES
    extra: ClassVar = "control-models"

    def networks(self) -> tuple[str, ...]:
        """The network."""
        return (self.options.weights,)

    def weights(self) -> str:
        """The commit of the network."""
        return network_mark(self.options.weights)

    def downloads(self) -> str:
        """Of the network."""
        return download_line(self.name, self.options.weights, offline=self.options.offline, texts=True)

    def open(self) -> None:
        """The network."""
        options = self.options
        self._embedder = Embedder(
            options.family, options.weights, device=options.device, offline=options.offline
        )

    def measure(self, item: Item) -> dict[str, Any]:
        """`match_score`: -1 to 1."""
        pictures = self._embedder.pictures(list(sampled(item.path, item.kind, self.options.frames)))
        (text,) = self._embedder.texts([str(item.columns["caption"])])
        lengths = np.linalg.norm(pictures, axis=1) * np.linalg.norm(text)
        return {"match_score": round(float((pictures @ text / lengths).mean()), 5)}

    def verdict(self, columns: Mapping[str, Any]) -> str:
        """Does not fit."""
        return outside("likeness of caption and clip", columns["match_score"], least=self.options.least)
