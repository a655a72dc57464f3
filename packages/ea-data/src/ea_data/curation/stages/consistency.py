"""Whether a clip stays in one scene: neighbouring key frames have to be alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ea_data.control.extras import load
from ea_data.curation.embedding import MODULES, Embedder, download_line
from ea_data.curation.frame_choice import choose_frames
from ea_data.curation.network_marks import network_mark
from ea_data.curation.ranges import check_ranges, outside
from ea_data.curation.reading import load_cv2, opened
from ea_data.curation.similarity import adjacent_similarity, colour_features
from ea_data.curation.stage import Item, ItemStage

__all__ = ["Consistency", "ConsistencyOptions"]


@dataclass(frozen=True, kw_only=True)
class ConsistencyOptions:
    """How alike frames are measured, and how alike they have to be.

    Attributes:
        method: `colours`, the colours of a frame and of its quarters; it needs no weights and knows no
            content, and is no measure of meaning; `clip` and `dinov2`, vectors of these, as released.
        weights: Directory, or OWNER/NAME[@REVISION] of the hub, of the network.
        device: Of torch.
        offline: Download nothing.
        frames: Which frames are compared; see `ea_data.curation.frame_choice`.
        stride: For `frames: stride`, in seconds.
        least: Smallest likeness of two neighbours, -1 to 1.
    """

    method: Literal["colours", "clip", "dinov2"] = "colours"
    weights: str = ""
    device: str = "cpu"
    offline: bool = False
    frames: Literal["keyframe+first", "keyframe+last", "stride"] = "stride"
    stride: float = 1.0
    least: float = 0.9

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        check_ranges(self, {"stride": (0.05, 60), "least": (-1, 1)})
        if (self.method == "colours") != (not self.weights):
            raise ValueError(
                f"weights is {self.weights!r}; allowed: none with colours, and some with a network"
            )


class Consistency(ItemStage[ConsistencyOptions]):
    """The likeness of neighbouring frames."""

    name = "consistency"
    summary = "clips that turn into another scene go"
    options_type = ConsistencyOptions
    kinds = ("video",)
    gives = ("consistency",)
    modules: ClassVar = ("cv2",)
    thresholds: ClassVar = ("least",)
    ways: ClassVar = ("device", "offline")

    def check(self) -> None:
        """OpenCV, and what a network needs."""
        super().check()
        for module in MODULES if self.options.method != "colours" else ():
            load(module)

    def networks(self) -> tuple[str, ...]:
        """The network."""
        return (self.options.weights,) if self.options.weights else ()

    def weights(self) -> str:
        """The commit of the network."""
        return network_mark(self.options.weights) if self.options.weights else ""

    def downloads(self) -> str:
        """Of the network."""
        options = self.options
        return download_line(self.name, options.weights, offline=options.offline) if options.weights else ""

    def open(self) -> None:
        """OpenCV, or the network."""
        load_cv2()
        options = self.options
        if options.method != "colours":
            self._embedder = Embedder(
                options.method, options.weights, device=options.device, offline=options.offline
            )

    def measure(self, item: Item) -> dict[str, Any]:
        """`consistency`: of the two neighbours that are least alike; 1 with a single frame."""
        options = self.options
        with opened(item.path) as reader:
            numbers = choose_frames(
                options.frames,
                len(reader),
                fps=reader.fps,
                stride=max(1, round(options.stride * reader.fps)),
                keyframes=reader.key_frames().tolist(),
            )
            frames = list(reader.pick(sorted(set(numbers))))
        features = colour_features(frames) if options.method == "colours" else self._embedder.pictures(frames)
        alike = adjacent_similarity(features)
        return {"consistency": round(min(alike, default=1.0), 4)}

    def verdict(self, columns: Mapping[str, Any]) -> str:
        """Not alike enough."""
        return outside("likeness of neighbouring frames", columns["consistency"], least=self.options.least)
