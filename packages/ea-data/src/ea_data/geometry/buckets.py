"""Buckets of (resolution, frames, aspect), as Open-Sora 1.1 sorts clips into batches.

`ea_data.geometry.slots` says what a config of them means.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ea_data.geometry.assignment import AssignmentTables
from ea_data.geometry.resolutions import RESOLUTIONS
from ea_data.geometry.slots import Slot, parse_slots, slots_tried

__all__ = [
    "NO_BUCKET",
    "Bucket",
    "ResolutionBuckets",
    "Slot",
    "Uniform",
]

NO_BUCKET: Final = -1
"""The index of a row that no bucket takes in this epoch."""

Uniform = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Rows to one number in [0, 1) for each."""

_PART: Final = 1 << 14  # rows at a time, which stay in the processor's cache


class Bucket(NamedTuple):
    """What the samples of a batch have in common."""

    resolution: str
    num_frames: int
    aspect: str


class ResolutionBuckets:
    """All buckets of a config.

    Args:
        config: Resolution to {frames: (keep probability, batch size)}; frames may be text, as in JSON.
        frame_interval: Source frames per frame of a clip.

    Attributes:
        slots: The entries, by falling pixels and then falling frames: the order in which they are tried.
        frame_interval: As given.

    Raises:
        ValueError: An unknown resolution or a value out of its range, named.
    """

    def __init__(self, config: Mapping[str, Mapping[Any, Sequence[Any]]], *, frame_interval: int = 1) -> None:
        if frame_interval < 1:
            raise ValueError(f"frame_interval is {frame_interval}; allowed: 1 or more")
        self.slots = parse_slots(config)
        self.frame_interval = frame_interval
        counts = [len(RESOLUTIONS[slot.resolution].aspects) for slot in self.slots]
        self._starts = np.concatenate(([0], np.cumsum(counts)))
        self._tables = AssignmentTables(self.slots, frame_interval, self._starts[:-1], NO_BUCKET)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Bucket:
        slot, aspect = self._locate(index)
        return Bucket(slot.resolution, slot.num_frames, RESOLUTIONS[slot.resolution].aspects.names[aspect])

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of a bucket in pixels."""
        slot, aspect = self._locate(index)
        return RESOLUTIONS[slot.resolution].aspects.sizes[aspect]

    @property
    def batch_sizes(self) -> NDArray[np.int64]:
        """Batch size of every bucket; 1 where nothing is kept."""
        sizes = [slot.batch_size or 1 for slot in self.slots]
        return np.repeat(np.array(sizes, np.int64), np.diff(self._starts))

    def assign(
        self,
        num_frames: ArrayLike,
        height: ArrayLike,
        width: ArrayLike,
        uniform: Uniform,
    ) -> NDArray[np.int32]:
        """The bucket of every row in one epoch.

        Args:
            num_frames: (N,) frames of each row's file; 1 for pictures.
            height: (N,) in pixels.
            width: (N,) in pixels.
            uniform: Draws, see `ea_data.sampling.keep_draws`. One number decides about all slots of a row:
                it stays at the first whose chance of having stayed by then is above the number.

        Returns:
            (N,) indices of buckets, `NO_BUCKET` where none takes the row.

        Raises:
            ValueError: Arrays of different lengths, or a number below 1.
        """
        frames, heights, widths = (np.asarray(values) for values in (num_frames, height, width))
        if not (frames.ndim == 1 and frames.shape == heights.shape == widths.shape):
            raise ValueError(
                f"num_frames, height and width are {frames.shape}, {heights.shape} and {widths.shape}; "
                "allowed: one number per row each"
            )
        if len(frames) and min(frames.min(), heights.min(), widths.min()) < 1:
            raise ValueError("num_frames, height or width of a row is below 1; allowed: 1 or more")
        assigned = np.empty(len(frames), np.int32)
        for start in range(0, len(frames), _PART):
            part = slice(start, start + _PART)
            drawn = uniform(np.arange(start, min(part.stop, len(frames)), dtype=np.int64))
            assigned[part] = self._tables.buckets(frames[part], heights[part], widths[part], drawn)
        return assigned

    def tried(self, num_frames: int, height: int, width: int) -> list[int]:
        """Positions of the slots that a file qualifies for, in the order in which it tries them."""
        return slots_tried(self.slots, self.frame_interval, num_frames, height * width)

    def nearest(self, position: int, height: int, width: int) -> int:
        """The bucket of a slot whose aspect is nearest to a file's."""
        aspects = RESOLUTIONS[self.slots[position].resolution].aspects
        return int(self._starts[position] + aspects.nearest(height, width))

    def _locate(self, index: int) -> tuple[Slot, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"bucket {index}; allowed: 0 to {len(self) - 1}")
        position = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.slots[position], index - int(self._starts[position])
