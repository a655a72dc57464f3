"""Buckets of (resolution, frames, aspect), as Open-Sora 1.1 sorts clips into batches.

A config says, per resolution and number of frames, how likely a clip that could go there stays there and how
many make a batch:

    {"240p": {1: (1.0, 64), 16: (1.0, 8)}, "720p": {16: (0.5, 2), 32: (0.0, None)}}

Resolutions are tried from the largest down. A clip qualifies with at least 80 % of a resolution's pixels, and
there for the largest number of frames that it has more than, times the frame interval. It stays by a draw,
else it goes on to the next smaller resolution; (0.0, None) keeps nothing and only sends clips further down.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ea_data.geometry.resolutions import RESOLUTIONS

__all__ = [
    "NO_BUCKET",
    "Bucket",
    "ResolutionBuckets",
    "Slot",
    "Uniform",
]

NO_BUCKET: Final = -1
"""The index of a row that no bucket takes in this epoch."""

Uniform = Callable[[NDArray[np.int64], int], NDArray[np.float64]]
"""Rows and the position of a slot to one number in [0, 1) per row."""

_ENOUGH_PIXELS: Final = 0.8
_PART: Final = 1 << 16  # rows at a time, which stay in the processor's cache


class Slot(NamedTuple):
    """One entry of a config: all buckets of a resolution and a number of frames.

    Attributes:
        resolution: Its name.
        num_frames: Of a clip; 1 for pictures.
        keep: Probability that a clip that qualifies stays.
        batch_size: Of each bucket; None in a slot that keeps nothing.
    """

    resolution: str
    num_frames: int
    keep: float
    batch_size: int | None


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
        if unknown := [name for name in config if name not in RESOLUTIONS]:
            raise ValueError(f"unknown resolution {unknown[0]!r}; allowed: {', '.join(RESOLUTIONS)}")
        parsed = [
            _slot(name, frames, entry)
            for name, entries in config.items()
            for frames, entry in entries.items()
        ]
        if not parsed:
            raise ValueError("the bucket config is empty; allowed: at least one resolution with one entry")
        if len({slot[:2] for slot in parsed}) < len(parsed):
            raise ValueError("the bucket config names a resolution and number of frames twice; allowed: once")
        parsed.sort(key=lambda slot: (-RESOLUTIONS[slot.resolution].pixels, -slot.num_frames))
        self.slots: tuple[Slot, ...] = tuple(parsed)
        self.frame_interval = frame_interval
        counts = [len(RESOLUTIONS[slot.resolution].aspects) for slot in self.slots]
        self._starts = np.concatenate(([0], np.cumsum(counts)))
        self._by_resolution: dict[str, list[int]] = {}
        for position, slot in enumerate(self.slots):
            self._by_resolution.setdefault(slot.resolution, []).append(position)

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
            uniform: Draws, see `ea_data.sampling.keep_draws`.

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
            rows = np.arange(start, min(start + _PART, len(frames)), dtype=np.int64)
            part = slice(start, start + _PART)
            assigned[part] = self._assign(rows, frames[part], heights[part], widths[part], uniform)
        return assigned

    def _assign(
        self,
        rows: NDArray[np.int64],
        frames: NDArray[Any],
        heights: NDArray[Any],
        widths: NDArray[Any],
        uniform: Uniform,
    ) -> NDArray[np.int32]:
        assigned = np.full(len(rows), NO_BUCKET, np.int32)
        waiting = np.ones(len(rows), bool)
        pixels = heights.astype(np.int64) * widths
        for name, slots in self._by_resolution.items():
            resolution = RESOLUTIONS[name]
            able = np.flatnonzero(waiting & (pixels >= _ENOUGH_PIXELS * resolution.pixels))
            for position, chosen in zip(slots, self._split(slots, frames[able]), strict=True):
                here = able[chosen]
                kept = here[uniform(rows[here], position) < self.slots[position].keep]
                aspect = resolution.aspects.nearest(heights[kept], widths[kept])
                assigned[kept] = self._starts[position] + aspect
                waiting[kept] = False
        return assigned

    def _split(self, slots: Sequence[int], frames: NDArray[Any]) -> list[NDArray[np.bool_]]:
        """For each slot of one resolution, most frames first, which rows qualify for it."""
        free = np.ones(len(frames), bool)
        chosen: list[NDArray[np.bool_]] = []
        for position in slots:
            length = self.slots[position].num_frames
            enough = frames == 1 if length == 1 else (frames > 1) & (frames > length * self.frame_interval)
            chosen.append(free & enough)
            free &= ~enough
        return chosen

    def _locate(self, index: int) -> tuple[Slot, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"bucket {index}; allowed: 0 to {len(self) - 1}")
        position = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.slots[position], index - int(self._starts[position])


def _slot(resolution: str, frames: Any, entry: Sequence[Any]) -> Slot:
    place = f"bucket_config {resolution} {frames}"
    if not str(frames).isdecimal() or int(frames) < 1:
        raise ValueError(f"{place}: the number of frames; allowed: whole numbers of 1 or more")
    if len(entry) != 2:
        raise ValueError(f"{place} is {entry!r}; allowed: (keep probability, batch size)")
    keep, batch_size = entry
    if not isinstance(keep, int | float) or not 0 <= keep <= 1:
        raise ValueError(f"{place}: the keep probability is {keep!r}; allowed: 0 to 1")
    if batch_size is None and keep > 0:
        raise ValueError(
            f"{place}: the batch size is missing; allowed: none only where nothing is kept (0.0)"
        )
    if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
        raise ValueError(f"{place}: the batch size is {batch_size!r}; allowed: whole numbers of 1 or more")
    return Slot(resolution, int(frames), float(keep), batch_size)
