"""How a file goes with a recipe: the size it is brought to, the frames that are taken of it."""

from collections.abc import Iterator

import numpy as np

from ea_data.geometry.aspect import ASPECTS
from ea_data.geometry.buckets import NO_BUCKET, ResolutionBuckets
from ea_data.lint.inspection import FileFacts
from ea_data.sampling import clip_span
from ea_data.training.recipe import DataRecipe
from ea_data.training.shapes import ShapeOptions

__all__ = ["fit_findings", "trained_size"]


def fit_findings(facts: FileFacts, recipe: DataRecipe, most_aspect: float) -> Iterator[tuple[str, str]]:
    """Rules that a readable file breaks, with messages.

    Args:
        facts: Of the file.
        recipe: What it is to be trained with.
        most_aspect: The longest side over the shortest.
    """
    layout = recipe.layout
    size = f"{facts.width}x{facts.height}"
    ratio = max(facts.height, facts.width) / min(facts.height, facts.width)
    if ratio > most_aspect:
        yield (
            "aspect",
            f"{size} is {ratio:.1f} times as long as wide; expected: at most {most_aspect:g} times",
        )
    if isinstance(layout, ResolutionBuckets):
        if _bucket(facts, layout) == NO_BUCKET:
            yield "no-bucket", f"no bucket takes {size} with {facts.frames} frames; {_least(layout)}"
        return
    height, width = trained_size(facts, layout)
    if facts.height < height or facts.width < width:
        times = max(height / facts.height, width / facts.width)
        yield "small", f"{size} would be enlarged {times:.2f} times; trained at {width}x{height}"
    if facts.kind == "video":
        yield from _length(facts, recipe, layout)


def trained_size(facts: FileFacts, shapes: ShapeOptions) -> tuple[int, int]:
    """Height and width that a file is usually cut to, without the draws of `random_*`."""
    side = shapes.video_sample_size if facts.kind == "video" else shapes.image_sample_size
    if not shapes.enable_bucket:
        return side // 16 * 16, side // 16 * 16
    return ASPECTS.size(int(ASPECTS.nearest(facts.height, facts.width)), side)


def _length(facts: FileFacts, recipe: DataRecipe, shapes: ShapeOptions) -> Iterator[tuple[str, str]]:
    wanted, least = shapes.video_sample_n_frames, recipe.clip.min_frames
    head, tail = recipe.skips
    taken = f"stride {recipe.clip.stride}, {head:g} and {tail:g} left out at the ends"
    try:
        count = clip_span(
            facts.frames, wanted, stride=recipe.clip.stride, skip_start=head, keep_until=1 - tail
        ).count
    except ValueError:
        count = 0
    if count < max(1, least):
        need = f"{least} frame" + "s" * (least > 1)
        yield "short", f"{facts.frames} frames give a clip of {count} ({taken}); expected: {need} or more"
    elif shapes.grid.fit(count) < shapes.grid.fit(wanted):
        yield (
            "fewer-frames",
            f"{facts.frames} frames give a clip of {shapes.grid.fit(count)} ({taken}), and its batch has "
            f"no more; the recipe wants {shapes.grid.fit(wanted)}",
        )


def _bucket(facts: FileFacts, buckets: ResolutionBuckets) -> int:
    """Where a file goes when every draw keeps it; `NO_BUCKET` if there is no such place."""
    frames = 1 if facts.kind == "image" else facts.frames
    found = buckets.assign([frames], [facts.height], [facts.width], lambda rows, slot: np.zeros(len(rows)))
    return int(found[0])


def _least(buckets: ResolutionBuckets) -> str:
    """What the smallest bucket asks for."""
    kept = [slot for slot in buckets.slots if slot.keep > 0]
    if not kept:
        return "the buckets keep nothing"
    shortest = min(slot.num_frames for slot in kept)
    size = f"expected: about {kept[-1].resolution} or larger"
    return f"{size}, more than {shortest * buckets.frame_interval} frames" if shortest > 1 else size
