"""The slots of a bucket config: which there are, and which of them a file tries.

A config says, per resolution and number of frames, how likely a clip that could go there stays there and how
many make a batch:

    {"240p": {1: (1.0, 64), 16: (1.0, 8)}, "720p": {16: (0.5, 2), 32: (0.0, None)}}

Resolutions are tried from the largest down. A clip qualifies with at least 80 % of a resolution's pixels, and
there for the largest number of frames that it has more than, times the frame interval. It stays by a draw,
else it goes on to the next smaller resolution; (0.0, None) keeps nothing and only sends clips further down.
Source: Open-Sora 1.1.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ea_data.geometry.resolutions import RESOLUTIONS

__all__ = [
    "Slot",
    "least_frames",
    "least_pixels",
    "parse_slots",
    "slots_tried",
]

_ENOUGH_PIXELS: Final = 0.8


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


def parse_slots(config: Mapping[str, Mapping[Any, Sequence[Any]]]) -> tuple[Slot, ...]:
    """The slots of a config, by falling pixels and then falling frames.

    Raises:
        ValueError: An unknown resolution or a value out of its range, named.
    """
    if unknown := [name for name in config if name not in RESOLUTIONS]:
        raise ValueError(f"unknown resolution {unknown[0]!r}; allowed: {', '.join(RESOLUTIONS)}")
    parsed = [
        _slot(name, frames, entry) for name, entries in config.items() for frames, entry in entries.items()
    ]
    if not parsed:
        raise ValueError("the bucket config is empty; allowed: at least one resolution with one entry")
    if len({slot[:2] for slot in parsed}) < len(parsed):
        raise ValueError("the bucket config names a resolution and number of frames twice; allowed: once")
    return tuple(sorted(parsed, key=lambda slot: (-RESOLUTIONS[slot.resolution].pixels, -slot.num_frames)))


def least_frames(slot: Slot, frame_interval: int) -> int:
    """Frames that a video must have for a slot; pictures have 1, and videos never go where pictures do."""
    return 1 if slot.num_frames == 1 else slot.num_frames * frame_interval + 1


def least_pixels(slot: Slot) -> int:
    """Pixels that a frame must have for a slot."""
    return math.ceil(_ENOUGH_PIXELS * RESOLUTIONS[slot.resolution].pixels)


def slots_tried(slots: Sequence[Slot], frame_interval: int, num_frames: int, pixels: int) -> list[int]:
    """Positions of the slots that a file tries, one per resolution, in the order in which it tries them."""
    tried: dict[str, int] = {}
    for position, slot in enumerate(slots):
        same_kind = (slot.num_frames == 1) == (num_frames == 1)
        enough = num_frames >= least_frames(slot, frame_interval) and pixels >= least_pixels(slot)
        if same_kind and enough:
            tried.setdefault(slot.resolution, position)
    return list(tried.values())


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
