"""How a file goes with a recipe: the size it is brought to, the frames that are taken of it."""

from collections.abc import Iterator

import numpy as np

from ea_data.geometry.aspect import ASPECTS
from ea_data.geometry.buckets import NO_BUCKET, ResolutionBuckets
from ea_data.lint.inspection import FileFacts
from ea_data.manifest import Entry
from ea_data.training.choices import clip_of
from ea_data.training.facts import FileFacts as TrainingFacts
from ea_data.training.recipe import DataRecipe
from ea_data.training.shapes import ShapeOptions

__all__ = ["fit_findings", "used_facts"]


def used_facts(entry: Entry, facts: FileFacts) -> TrainingFacts:
    """What training takes a file to be: what its row says, where it says everything; else what it is."""
    said = entry.facts
    frames = 1 if entry.type == "image" else said.num_frames
    if frames is None or said.height is None or said.width is None:
        return TrainingFacts(facts.frames, facts.height, facts.width)
    return TrainingFacts(frames, said.height, said.width)


def fit_findings(
    facts: FileFacts, used: TrainingFacts, recipe: DataRecipe, most_aspect: float
) -> Iterator[tuple[str, str]]:
    """Rules that a readable file breaks, with messages.

    Args:
        facts: Of the file.
        used: What training takes it to be, see `used_facts`.
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
        if _bucket(used, layout) == NO_BUCKET:
            yield "no-bucket", f"no bucket takes {size} with {used.frames} frames; {_least(layout)}"
        return
    height, width = _trained_size(facts.kind, used, layout)
    if facts.height < height or facts.width < width:
        times = max(height / facts.height, width / facts.width)
        yield "small", f"{size} would be enlarged {times:.2f} times; trained at {width}x{height}"
    if facts.kind == "video":
        yield from _length(used.frames, recipe, layout)


def _trained_size(kind: str, used: TrainingFacts, shapes: ShapeOptions) -> tuple[int, int]:
    """Height and width that a file is usually cut to, without the draws of `random_*`."""
    side = shapes.video_sample_size if kind == "video" else shapes.image_sample_size
    if not shapes.enable_bucket:
        return side // 16 * 16, side // 16 * 16
    return ASPECTS.size(int(ASPECTS.nearest(used.height, used.width)), side)


def _length(frames: int, recipe: DataRecipe, shapes: ShapeOptions) -> Iterator[tuple[str, str]]:
    head, tail = recipe.skips
    taken = f"(stride {recipe.clip.stride}, {head:g} and {tail:g} left out at the ends)"
    try:
        count = clip_of(recipe, frames).count
    except ValueError as error:
        yield "short", f"{error} {taken}"
        return
    clip, wanted = shapes.grid.fit(count), shapes.grid.fit(shapes.video_sample_n_frames)
    if clip < wanted:
        message = (
            f"{frames} frames give a clip of {clip} {taken}, and its batch has no more; the recipe wants "
        )
        yield "fewer-frames", f"{message}{wanted}"


def _bucket(used: TrainingFacts, buckets: ResolutionBuckets) -> int:
    """Where a file goes when every draw keeps it; `NO_BUCKET` if there is no such place."""
    found = buckets.assign([used.frames], [used.height], [used.width], lambda rows: np.zeros(len(rows)))
    return int(found[0])


def _least(buckets: ResolutionBuckets) -> str:
    """What the smallest bucket asks for."""
    kept = [slot for slot in buckets.slots if slot.keep > 0]
    if not kept:
        return "the buckets keep nothing"
    shortest = min(slot.num_frames for slot in kept)
    size = f"expected: about {kept[-1].resolution} or larger"
    return f"{size}, more than {shortest * buckets.frame_interval} frames" if shortest > 1 else size
