"""Tables that find the buckets of millions of rows with a few passes over them.

What a row may become depends on two small numbers: its kind, which is how many of the limits of frames and of
pixels it reaches, and its cell, which is how many of the limits of aspects it does. Tables of both say which
slots it tries, how likely it has stayed by each of them, and the bucket of a slot.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ea_data.geometry.aspect import count_reached
from ea_data.geometry.resolutions import RESOLUTIONS
from ea_data.geometry.slots import Slot, least_frames, least_pixels, slots_tried

__all__ = ["AssignmentTables"]


class AssignmentTables:
    """Tables of one config.

    Args:
        slots: Of the config, in the order in which they are tried.
        frame_interval: Source frames per frame of a clip.
        starts: The first bucket of every slot.
        nowhere: The bucket of rows that stay in none.
    """

    def __init__(
        self, slots: Sequence[Slot], frame_interval: int, starts: NDArray[np.int64], nowhere: int
    ) -> None:
        self._frames = np.unique([least_frames(slot, frame_interval) for slot in slots] + [2])
        self._pixels = np.unique([least_pixels(slot) for slot in slots])
        tried = [
            slots_tried(slots, frame_interval, frames, pixels)
            for frames in (1, *self._frames.tolist())
            for pixels in (0, *self._pixels.tolist())
        ]
        longest = max(len(positions) for positions in tried)
        self._chances = np.full((longest, len(tried)), np.inf)
        self._slots = np.full((len(tried), longest + 1), len(slots))
        for kind, positions in enumerate(tried):
            keep = np.array([slots[position].keep for position in positions])
            self._chances[: len(positions), kind] = 1 - np.cumprod(1 - keep)
            self._slots[kind, : len(positions)] = positions
        aspects = [RESOLUTIONS[slot.resolution].aspects for slot in slots]
        self._aspects = np.unique(np.concatenate([table.limits for table in aspects]))
        cells = np.concatenate(([0.0], self._aspects))
        found = [start + table.nearest_to(cells) for start, table in zip(starts, aspects, strict=True)]
        self._buckets = np.array([*found, np.full(len(cells), nowhere)], np.int32)

    def buckets(
        self,
        frames: NDArray[Any],
        heights: NDArray[Any],
        widths: NDArray[Any],
        drawn: NDArray[np.float64],
    ) -> NDArray[np.int32]:
        """The buckets of (N,) rows.

        Args:
            frames: 1 or more.
            heights: In pixels, 1 or more.
            widths: As `heights`.
            drawn: A number in [0, 1) for each row.
        """
        pixels = heights.astype(np.int64) * widths
        kinds = count_reached(frames, self._frames) * (len(self._pixels) + 1)
        kinds += count_reached(pixels, self._pixels)
        places = kinds * self._slots.shape[1]
        for chances in self._chances:
            places += drawn >= chances.take(kinds)
        places = self._slots.take(places) * self._buckets.shape[1]
        places += count_reached(heights / widths, self._aspects)
        return self._buckets.take(places)
