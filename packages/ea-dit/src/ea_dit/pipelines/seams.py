"""How visible the joints of a long video are. Shapes: B batch, T frames, H and W pixels."""

from dataclasses import dataclass, field
from statistics import median

from torch import Tensor

_STILL = 1 / 255
"""Change between frames that stand still, which no eye sees."""


@dataclass(frozen=True)
class Seam:
    """A joint between two windows.

    Attributes:
        frame: First frame of the later window.
        score: The largest change between neighbours from the frame before the joint to the end of the
            overlap, divided by the median change elsewhere. About 1 is invisible; a cut scores many times
            that.
    """

    frame: int
    score: float


@dataclass
class SeamMeter:
    """Collects one number per frame, so that a video need not be kept to score its joints."""

    changes: list[float] = field(default_factory=list)
    joints: list[tuple[int, int]] = field(default_factory=list)
    last: Tensor | None = None

    def add(self, frames_B3THW: Tensor, *, overlap: int | None) -> None:
        """Takes the next frames.

        Args:
            frames_B3THW: At least one.
            overlap: Of their window with the one before, where they begin a window; None where they go on
                with one.
        """
        if self.last is not None:
            if overlap is not None:
                self.joints.append((len(self.changes) + 1, overlap))
            self.changes.append(_change(self.last, frames_B3THW[:, :, 0]))
        self.changes += [
            _change(frames_B3THW[:, :, place], frames_B3THW[:, :, place + 1])
            for place in range(frames_B3THW.shape[2] - 1)
        ]
        self.last = frames_B3THW[:, :, -1].clone()

    def seams(self) -> tuple[Seam, ...]:
        """The joints with their scores."""
        # changes[i] lies between the frames i and i + 1.
        near = {place for frame, overlap in self.joints for place in range(frame - 1, frame + overlap)}
        usual = median([change for place, change in enumerate(self.changes) if place not in near] or [0.0])
        return tuple(
            Seam(frame, max(self.changes[frame - 1 : frame + overlap]) / max(usual, _STILL))
            for frame, overlap in self.joints
        )


def _change(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().mean())
