"""Which frames of a video a clip takes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ClipSpan",
    "clip_span",
    "evenly_spaced",
    "latest_start",
]


@dataclass(frozen=True)
class ClipSpan:
    """Where in a video a clip may lie.

    Attributes:
        count: Frames of the clip.
        length: Source frames from its first to its last, both counted.
        first_start: The earliest start.
        last_start: The latest start.
    """

    count: int
    length: int
    first_start: int
    last_start: int

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Indices of the frames of a clip that starts at random."""
        return self.frames(int(rng.integers(self.first_start, self.last_start + 1)))

    def frames(self, start: int) -> NDArray[np.int64]:
        """Indices of the frames of a clip that starts at `start`.

        Raises:
            ValueError: A start outside the span.
        """
        if not self.first_start <= start <= self.last_start:
            raise ValueError(f"start is {start}; allowed: {self.first_start} to {self.last_start}")
        return np.linspace(start, start + self.length - 1, self.count).astype(np.int64)


def clip_span(
    total_frames: int, num_frames: int, *, stride: int = 1, skip_start: float = 0.1, keep_until: float = 0.9
) -> ClipSpan:
    """Where a clip may lie in a video whose ends are left out, as EasyAnimate takes clips.

    The earliest start is a share of what remains before `keep_until`, not of the whole video, as released.

    Args:
        total_frames: Of the video.
        num_frames: Wanted; fewer are taken from a short video.
        stride: Source frames per frame of the clip.
        skip_start: Share at the beginning that is left out.
        keep_until: Where the share at the end begins that is left out.

    Raises:
        ValueError: A value out of its range, or a video so short that no frame is left.
    """
    if min(total_frames, num_frames, stride) < 1:
        raise ValueError(f"frames and stride are {(total_frames, num_frames, stride)}; allowed: 1 or more")
    if not 0 <= skip_start < keep_until <= 1:
        raise ValueError(
            f"skip_start and keep_until are {skip_start} and {keep_until}; allowed: 0 to 1, rising"
        )
    count = min(num_frames, int(total_frames * (keep_until - skip_start) // stride))
    if count == 0:
        raise ValueError(
            f"total_frames is {total_frames}: no frame is left at stride {stride} between {skip_start:g} "
            f"and {keep_until:g} of the video; allowed: longer videos"
        )
    usable = int(keep_until * total_frames)
    length = min(usable, (count - 1) * stride + 1)
    if length == usable:
        return ClipSpan(count, length, 0, 0)
    return ClipSpan(count, length, int(skip_start * usable), usable - length)


def latest_start(total_frames: int, num_frames: int, interval: int) -> int:
    """The latest start of an Open-Sora clip; its earliest is 0."""
    return max(0, total_frames - num_frames * interval - 1)


def evenly_spaced(total_frames: int, num_frames: int, interval: int, start: int) -> NDArray[np.int64]:
    """Frames of an Open-Sora clip: evenly spread over num_frames x interval frames, or what there is of them.

    Gaps are not all the same, because the indices are cut to whole numbers. Source: Open-Sora 1.1.

    Args:
        total_frames: Of the video, at least `num_frames`.
        num_frames: Of the clip.
        interval: Source frames per frame of the clip.
        start: 0 to `latest_start`.

    Raises:
        ValueError: A value out of its range.
    """
    if min(num_frames, interval) < 1 or total_frames < num_frames:
        raise ValueError(
            f"total_frames, num_frames, interval are {(total_frames, num_frames, interval)}; "
            "allowed: 1 or more, and a video with at least num_frames"
        )
    if not 0 <= start <= latest_start(total_frames, num_frames, interval):
        raise ValueError(
            f"start is {start}; allowed: 0 to {latest_start(total_frames, num_frames, interval)}"
        )
    end = min(start + num_frames * interval, total_frames)
    return np.linspace(start, end - 1, num_frames).astype(np.int64)
