"""How much moves: the mean length of the optical flow."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ea_data.curation.flow import flow_lengths, motion_score
from ea_data.curation.ranges import check_ranges, outside
from ea_data.curation.reading import load_cv2, opened
from ea_data.curation.stage import Item, ItemStage
from ea_data.curation.vectors import vector_score

__all__ = ["Motion", "MotionOptions"]


@dataclass(frozen=True, kw_only=True)
class MotionOptions:
    """How motion is measured, and how much is accepted.

    Attributes:
        method: `farneback`, dense flow as released; `dis`, dense inverse search, which is faster and follows
            larger steps; `vectors`, those that an H.264 file has for its blocks, the fastest, with `dis` for
            files that have none.
        fps: Frames a second between which motion is measured, about.
        side: Pixels of the longer side that frames are scaled down to; None for as they are, as released. The
            score stays in pixels of the video.
        unit: Of the score: `pixels`, as released, or `percent` of the diagonal, which is the same for a
            video at every size.
        least: Score that is accepted.
        most: Score that is accepted.
    """

    method: Literal["farneback", "dis", "vectors"] = "farneback"
    fps: float = 2.0
    side: int | None = None
    unit: Literal["pixels", "percent"] = "pixels"
    least: float = 2.0
    most: float = 20.0

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        check_ranges(self, {"fps": (0.1, 60), "side": (64, 4096), "least": (0, 1e6), "most": (0, 1e6)})
        if self.least > self.most:
            raise ValueError(f"least is {self.least:g}; allowed: at most most, which is {self.most:g}")


class Motion(ItemStage[MotionOptions]):
    """A score in pixels for about half a second."""

    name = "motion"
    summary = "clips that move too little or too much go"
    options_type = MotionOptions
    kinds = ("video",)
    needs = ("width", "height")
    gives = ("motion_score",)
    modules: ClassVar = ("cv2",)
    thresholds: ClassVar = ("least", "most")

    def open(self) -> None:
        """OpenCV."""
        load_cv2()

    def measure(self, item: Item) -> dict[str, Any]:
        """`motion_score`: mean over pairs of frames, of the mean length of the flow in pixels."""
        options = self.options
        score = vector_score(item.path, options.fps) if options.method == "vectors" else None
        if score is None:
            method = "farneback" if options.method == "farneback" else "dis"
            with opened(item.path) as reader:
                score = motion_score(flow_lengths(reader, method, fps=options.fps, side=options.side))
        if options.unit == "percent":
            diagonal = math.hypot(item.columns["width"], item.columns["height"])
            score = round(100 * score / diagonal, 5)
        return {"motion_score": score}

    def verdict(self, columns: Mapping[str, Any]) -> str:
        """Too little, too much."""
        return outside(
            "motion score", columns["motion_score"], least=self.options.least, most=self.options.most
        )
