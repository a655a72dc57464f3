"""How much moves: the mean length of the optical flow."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from ea_data.curation.flow import Flow, classical_flow, flow_lengths, motion_score
from ea_data.curation.raft import Raft, RaftMethod, check_raft, fetch_named, fetch_raft, raft_mark
from ea_data.curation.ranges import check_ranges, outside
from ea_data.curation.reading import load_cv2, opened
from ea_data.curation.stage import Item, ItemStage
from ea_data.curation.vectors import vector_score

__all__ = ["Motion", "MotionOptions"]

_RAFT: Final = ("raft", "raft_small")


@dataclass(frozen=True, kw_only=True)
class MotionOptions:
    """How motion is measured, and how much is accepted.

    Attributes:
        method: `farneback`, dense flow as released; `dis`, dense inverse search, which is faster and follows
            larger steps; `vectors`, those that an H.264 file has for its blocks, the fastest, with `dis` for
            files that have none; `raft` and `raft_small`, networks of torchvision, at their best on a GPU.
        fps: Frames a second between which motion is measured, about.
        side: Pixels of the longer side that frames are scaled down to; None for as they are, as released. The
            score stays in pixels of the video.
        unit: Of the score: `pixels`, as released, or `percent` of the diagonal, which is the same for a
            video at every size.
        weights: Of RAFT: a file or directory, or OWNER/NAME[@REVISION] of the hub; "" for torchvision's own.
        device: Of torch, for RAFT.
        offline: Download nothing.
        allow_pickle: Read tensors in a pickle too, as torchvision's own weights are; nothing in it is run.
        least: Score that is accepted.
        most: Score that is accepted.
    """

    method: Literal["farneback", "dis", "vectors", "raft", "raft_small"] = "farneback"
    fps: float = 2.0
    side: int | None = None
    unit: Literal["pixels", "percent"] = "pixels"
    weights: str = ""
    device: str = "cpu"
    offline: bool = False
    allow_pickle: bool = False
    least: float = 2.0
    most: float = 20.0

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        check_ranges(self, {"fps": (0.1, 60), "side": (64, 4096), "least": (0, 1e6), "most": (0, 1e6)})
        if self.least > self.most:
            raise ValueError(f"least is {self.least:g}; allowed: at most most, which is {self.most:g}")
        if self.weights and self.method not in _RAFT:
            raise ValueError(f"weights is {self.weights!r}; allowed: none with method {self.method}")


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
    ways: ClassVar = ("device", "offline", "allow_pickle")

    def check(self) -> None:
        """OpenCV, and what RAFT needs."""
        super().check()
        options = self.options
        if (method := _raft(options)) is not None:
            check_raft(method, options.weights, allow_pickle=options.allow_pickle)

    def networks(self) -> tuple[str, ...]:
        """RAFT's weights where they are named."""
        return (self.options.weights,) if self.options.weights else ()

    def weights(self) -> str:
        """Of RAFT."""
        method = _raft(self.options)
        return "" if method is None else raft_mark(method, self.options.weights)

    def model(self) -> str:
        """Of RAFT."""
        return self.weights()

    def downloads(self) -> str:
        """Of RAFT's weights."""
        options, told = self.options, list[str]()
        method = _raft(options)
        if method is not None and not options.weights:
            fetch_raft(method, offline=options.offline, notify=told.append)
        elif method is not None:
            fetch_named(method, options.weights, offline=options.offline, notify=told.append)
        return f"{self.name}: {told[0]}" if told else ""

    def open(self) -> None:
        """OpenCV, and RAFT."""
        load_cv2()
        options = self.options
        if (method := _raft(options)) is not None:
            self._flow: Flow = Raft(
                method,
                options.weights,
                device=options.device,
                offline=options.offline,
                allow_pickle=options.allow_pickle,
            )
        else:
            self._flow = classical_flow("farneback" if options.method == "farneback" else "dis")

    def measure(self, item: Item) -> dict[str, Any]:
        """`motion_score`: mean over pairs of frames, of the mean length of the flow in pixels."""
        options = self.options
        score = vector_score(item.path, options.fps) if options.method == "vectors" else None
        if score is None:
            colour = _raft(options) is not None
            with opened(item.path) as reader:
                lengths = flow_lengths(reader, self._flow, fps=options.fps, side=options.side, colour=colour)
                score = motion_score(lengths)
        if options.unit == "percent":
            diagonal = math.hypot(item.columns["width"], item.columns["height"])
            score = round(100 * score / diagonal, 5)
        return {"motion_score": score}

    def verdict(self, columns: Mapping[str, Any]) -> str:
        """Too little, too much."""
        return outside(
            "motion score", columns["motion_score"], least=self.options.least, most=self.options.most
        )


def _raft(options: MotionOptions) -> RaftMethod | None:
    return options.method if options.method == "raft" or options.method == "raft_small" else None
