"""The samples and batches of a recipe, from what was found in the files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ea_data.geometry.aspect import ASPECTS
from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.lint.accounting import EpochCount, count_epoch
from ea_data.sampling import keep_draws
from ea_data.training.facts import FileFacts as TrainingFacts
from ea_data.training.order import BatchOrder
from ea_data.training.recipe import DataRecipe
from ea_data.training.rows import batch_order
from ea_data.training.shapes import ShapeOptions, aspect_bucket_ids, repeat_videos

__all__ = ["BatchPlan", "bucket_names", "plan_batches"]


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The samples and batches of all epochs.

    Attributes:
        samples: Kept rows, videos as often as they are repeated.
        buckets_of: The bucket of each sample (N,) in an epoch, negative where no draw keeps it.
        batch_sizes: Of each bucket.
        order: The batches.
        names: Of each bucket.
    """

    samples: int
    buckets_of: Callable[[int], NDArray[np.int64]]
    batch_sizes: NDArray[np.int64]
    order: BatchOrder
    names: Sequence[str]

    def count(self, epoch: int) -> EpochCount:
        """Where the samples of an epoch go."""
        return count_epoch(
            self.order, epoch, self.buckets_of(epoch), self.batch_sizes, self.names.__getitem__
        )


def plan_batches(
    videos: Sequence[bool], facts: Sequence[TrainingFacts | None], recipe: DataRecipe
) -> BatchPlan:
    """The batches of a manifest, as `TrainingDataset` makes them.

    Args:
        videos: Whether each usable row of the manifest is a video.
        facts: Size and length of the file of each; None where the row is dropped. At least one is not.
        recipe: What they are trained with.
    """
    rows = repeat_videos(np.array(videos, bool), recipe.video_repeat)
    kept = [facts[row] for row in rows]
    is_video = np.array(videos, bool)[rows]
    frames, heights, widths = np.array([one or (0, 1, 1) for one in kept], np.int64).T
    layout = recipe.layout
    names = bucket_names(recipe)
    sizes = np.full(len(names), recipe.batch_size, np.int64)
    if isinstance(layout, ResolutionBuckets):
        sizes = layout.batch_sizes

    def buckets_of(epoch: int) -> NDArray[np.int64]:
        if isinstance(layout, ResolutionBuckets):
            draws = keep_draws(recipe.seed, epoch)
            found = layout.assign(np.maximum(frames, 1), heights, widths, draws).astype(np.int64)
        elif layout.enable_bucket:
            found = aspect_bucket_ids(is_video, heights, widths).astype(np.int64)
        else:
            found = is_video.astype(np.int64)
        return found[frames > 0]

    return BatchPlan(
        samples=int(np.count_nonzero(frames)),
        buckets_of=buckets_of,
        batch_sizes=sizes,
        order=batch_order(recipe, is_video, kept),
        names=names,
    )


def bucket_names(recipe: DataRecipe) -> list[str]:
    """A name for every bucket of a recipe."""
    layout = recipe.layout
    if isinstance(layout, ResolutionBuckets):
        return [_resolution_name(layout, index) for index in range(len(layout))]
    return _shape_names(layout)


def _resolution_name(buckets: ResolutionBuckets, index: int) -> str:
    height, width = buckets.size(index)
    resolution, frames, aspect = buckets[index]
    return f"{resolution} {frames} frame{'s' * (frames > 1)} {aspect} {width}x{height}"


def _shape_names(shapes: ShapeOptions) -> list[str]:
    kinds = (("image", shapes.image_sample_size), ("video", shapes.video_sample_size))
    if not shapes.enable_bucket:
        return [f"{kind} {side // 16 * 16}x{side // 16 * 16}" for kind, side in kinds]
    names = []
    for kind, side in kinds:
        for index, aspect in enumerate(ASPECTS.names):
            height, width = ASPECTS.size(index, side)
            names.append(f"{kind} {aspect} {width}x{height}")
    return names
