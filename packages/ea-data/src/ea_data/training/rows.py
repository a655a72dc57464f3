"""Which rows of a manifest can be trained on, and the order of their batches."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.geometry.aspect import ASPECTS
from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.manifest import Entry
from ea_data.sampling import keep_draws
from ea_data.training.choices import clip_of
from ea_data.training.facts import FileFacts
from ea_data.training.failures import BrokenSample
from ea_data.training.order import BatchOrder
from ea_data.training.recipe import DataRecipe
from ea_data.training.shapes import aspect_bucket_ids

__all__ = ["UNUSABLE", "batch_order", "checked_facts"]

UNUSABLE: Final = FileFacts(0, 1, 1)
"""Stands in an array for a file that cannot be trained on."""


def checked_facts(
    recipe: DataRecipe, entry: Entry, facts: FileFacts | ValueError
) -> FileFacts | BrokenSample:
    """The facts of a file that can be trained on, or why it cannot."""
    if isinstance(facts, ValueError):
        return BrokenSample(entry.path, entry.line, str(facts))
    if recipe.control == "video" and entry.control_path is None:
        reason = f"{entry.path} has no control_file_path; allowed: one for every row, as control is 'video'"
        return BrokenSample(entry.path, entry.line, reason)
    if entry.type == "video" and recipe.buckets is None:
        try:
            clip_of(recipe, facts.frames)
        except ValueError as error:
            return BrokenSample(entry.path, entry.line, f"{entry.path}: {error}")
    return facts


def batch_order(
    recipe: DataRecipe, videos: NDArray[np.bool_], facts: Sequence[FileFacts | None] | NDArray[np.int64]
) -> BatchOrder:
    """The order of batches.

    Args:
        recipe: How rows become batches.
        videos: (N,) whether each row is a video.
        facts: Of each row, None leaves it out; or as an array (N, 3), in which 0 frames do.
    """
    layout = recipe.layout
    if not isinstance(facts, np.ndarray):
        facts = np.array([one or UNUSABLE for one in facts], np.int64).reshape(-1, len(UNUSABLE))
    frames, heights, widths = facts.T
    if isinstance(layout, ResolutionBuckets):
        return BatchOrder(
            _BucketsOfEpoch(layout, recipe.seed, frames, heights, widths),
            layout.batch_sizes,
            seed=recipe.seed,
            remainder=recipe.remainder,
            run=recipe.run,
        )
    ids = aspect_bucket_ids(videos, heights, widths) if layout.enable_bucket else videos.astype(np.int64)
    return BatchOrder(
        np.where(frames > 0, ids, -1),
        np.full(2 * len(ASPECTS), recipe.batch_size),
        seed=recipe.seed,
        remainder=recipe.remainder,
        run=recipe.run,
    )


class _BucketsOfEpoch:
    """The bucket of every row in an epoch; a class, so that a spawned process can be given one."""

    def __init__(
        self,
        buckets: ResolutionBuckets,
        seed: int,
        frames: NDArray[np.int64],
        heights: NDArray[np.int64],
        widths: NDArray[np.int64],
    ) -> None:
        self._buckets, self._seed = buckets, seed
        self._usable = frames > 0
        self._sizes = np.maximum(frames, 1), heights, widths

    def __call__(self, epoch: int) -> NDArray[np.int32]:
        found = self._buckets.assign(*self._sizes, keep_draws(self._seed, epoch))
        return np.where(self._usable, found, np.int32(-1))
