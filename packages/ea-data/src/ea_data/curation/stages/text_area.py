"""How much of the picture is text: subtitles, banners, titles.

rapidocr's models come in its wheel. What is found has to be readable: its detector alone takes smooth
gradients for a box over the whole frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ea_data.control.extras import load
from ea_data.curation.ranges import check_ranges, outside
from ea_data.curation.reading import Pixels, load_cv2, sampled, scaled
from ea_data.curation.stage import Item, ItemStage
from ea_data.curation.text_score import text_share

__all__ = ["TextArea", "TextAreaOptions"]


@dataclass(frozen=True, kw_only=True)
class TextAreaOptions:
    """How text is looked for, and how much is accepted.

    Attributes:
        frames: That are looked at, the first and last of them a little within the clip.
        side: Pixels of the longer side that they are scaled down to.
        confidence: Of the reading of a box, 0 to 1; boxes below it do not count.
        most: Share of the frame that text may cover, the mean over frames.
    """

    frames: int = 3
    side: int = 640
    confidence: float = 0.6
    most: float = 0.02

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        ranges = {"frames": (1, 64), "side": (128, 4096), "confidence": (0, 1), "most": (0, 1)}
        check_ranges(self, ranges)


class TextArea(ItemStage[TextAreaOptions]):
    """The share of the frame that readable text covers."""

    name = "text"
    summary = "clips with subtitles, banners and titles go"
    options_type = TextAreaOptions
    gives = ("text_score",)
    modules: ClassVar = ("cv2", "rapidocr")
    thresholds: ClassVar = ("most",)
    libraries: ClassVar = ("rapidocr",)

    def open(self) -> None:
        """The networks of rapidocr."""
        load_cv2()
        settings = {
            "Global.log_level": "error",
            "Global.text_score": self.options.confidence,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.limit_side_len": self.options.side,
            "Det.limit_type": "max",
        }
        self._reader = load("rapidocr").RapidOCR(params=settings)

    def measure(self, item: Item) -> dict[str, Any]:
        """`text_score`: 0 to about 1."""
        count = self.options.frames
        frames = sampled(item.path, item.kind, count + 2 if count > 1 else 3)
        chosen = frames[1:-1] if len(frames) > 2 else frames
        return {"text_score": round(float(np.mean([self._share(frame) for frame in chosen])), 5)}

    def verdict(self, columns: Mapping[str, Any]) -> str:
        """Too much text."""
        return outside("text area", columns["text_score"], most=self.options.most)

    def _share(self, frame: Pixels) -> float:
        small = np.ascontiguousarray(scaled(frame, self.options.side)[:, :, ::-1])
        found = self._reader(small, use_cls=False)
        if found.boxes is None:
            return 0.0
        height, width = small.shape[:2]
        return text_share(width, height, [], [box.tolist() for box in found.boxes])
