"""What is drawn for one sample: functions of (seed, epoch, row) alone, so that a sample can be made again.

Every choice has a generator of its own: switching one on or off leaves the others as they are.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.frame_masks import FrameMaskKind, random_frame_mask
from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.masks import Mask, MaskKind, random_mask
from ea_data.sampling import ClipSpan, clip_span, evenly_spaced, generator, latest_start
from ea_data.training.recipe import DataRecipe
from ea_data.training.sampler import SampleKey
from ea_data.training.shapes import BatchShape

__all__ = [
    "MASK_KEY",
    "SampleChoices",
    "clip_of",
    "draw_choices",
    "draw_mask",
    "draw_noise_seed",
    "frames_within",
]

MASK_KEY: Final = 3
"""1 and 2 are the keys of choices for a batch and for a step, see `ea_data.training.collate`."""
_CLIP_KEY: Final = 4
_CAPTION_KEY: Final = 5
_FLIP_KEY: Final = 6
_REFERENCE_KEY: Final = 7
_NOISE_KEY: Final = 8


@dataclass(frozen=True)
class SampleChoices:
    """All that was drawn for one sample.

    Attributes:
        row: Of the list of samples, in which videos may come several times.
        entry: Of the manifest's good rows.
        epoch: From 0.
        frames: Numbers of the source frames, in the order of the clip.
        caption_dropped: Whether the caption was replaced by an empty one.
        flipped: Whether all pictures are mirrored, left to right.
        reference: Number of the clip's frame that is a reference, None without.
    """

    row: int
    entry: int
    epoch: int
    frames: tuple[int, ...]
    caption_dropped: bool
    flipped: bool
    reference: int | None


def clip_of(recipe: DataRecipe, total_frames: int) -> ClipSpan:
    """Where in a video a clip may lie, by `recipe.shapes`.

    Raises:
        ValueError: The video is too short.
    """
    options = recipe.layout
    assert not isinstance(options, ResolutionBuckets)
    head, tail = recipe.skips
    span = clip_span(
        total_frames,
        options.video_sample_n_frames,
        stride=recipe.clip.stride,
        skip_start=head,
        keep_until=1 - tail,
    )
    if span.count < recipe.clip.min_frames:
        raise ValueError(
            f"{total_frames} frames give a clip of {span.count}; allowed: clip.min_frames, "
            f"{recipe.clip.min_frames}, or more"
        )
    return span


def draw_choices(
    recipe: DataRecipe, key: SampleKey, entry: int, total_frames: int, shape: BatchShape
) -> SampleChoices:
    """Draw everything but the mask.

    Args:
        recipe: How samples are made.
        key: Of the sample.
        entry: Of the manifest's good rows, that the key's row stands for.
        total_frames: Of the file; 1 is a picture.
        shape: Of the batch; of its frames the first ones of the clip are taken.

    Raises:
        ValueError: The video is too short.
    """
    frames = _frames(recipe, key, total_frames)[: shape.frames]
    return SampleChoices(
        row=key.row,
        entry=entry,
        epoch=key.epoch,
        frames=tuple(frames.tolist()),
        caption_dropped=bool(_rng(recipe, _CAPTION_KEY, key).random() < recipe.captions.dropout),
        flipped=recipe.random_flip and bool(_rng(recipe, _FLIP_KEY, key).random() < 0.5),
        reference=_reference(recipe, key, shape.frames),
    )


def draw_mask(
    recipe: DataRecipe, key: SampleKey, shape: BatchShape
) -> tuple[MaskKind | FrameMaskKind, Mask] | None:
    """The kind of a sample's mask and the mask (T, H, W), True where pixels are to be made; None without."""
    rng = _rng(recipe, MASK_KEY, key)
    if recipe.masks.draw == "inpaint":
        return random_mask(rng, shape.frames, shape.height, shape.width, weights=recipe.masks.inpaint_weights)
    if recipe.masks.draw == "frames":
        draws = Random(int(rng.integers(1 << 63)))
        kind, mask_T = random_frame_mask(draws, shape.frames, recipe.masks.frame_ratios)
        return kind, frames_within(mask_T, shape)
    return None


def draw_noise_seed(recipe: DataRecipe, key: SampleKey) -> int:
    """The seed, 32 bits, of a noise that belongs to the sample, such as that on its given pixels."""
    return int(_rng(recipe, _NOISE_KEY, key).integers(1 << 32))


def frames_within(mask_T: NDArray[np.bool_], shape: BatchShape) -> Mask:
    """A mask of whole frames as one of pixels (T, H, W)."""
    return np.broadcast_to(mask_T[:, None, None], (len(mask_T), shape.height, shape.width))


def _frames(recipe: DataRecipe, key: SampleKey, total: int) -> NDArray[np.int64]:
    if total == 1:
        return np.zeros(1, np.int64)
    rng, options = _rng(recipe, _CLIP_KEY, key), recipe.layout
    if not isinstance(options, ResolutionBuckets):
        return clip_of(recipe, total).draw(rng)
    count, interval = options[key.bucket].num_frames, recipe.clip.stride
    start = int(rng.integers(latest_start(total, count, interval) + 1))
    return evenly_spaced(total, count, interval, start)


def _reference(recipe: DataRecipe, key: SampleKey, frames: int) -> int | None:
    if recipe.reference.mode == "none":
        return None
    rng = _rng(recipe, _REFERENCE_KEY, key)
    if recipe.reference.mode == "first" or frames == 1 or rng.random() < recipe.reference.first:
        return 0
    return int(rng.integers(1, frames))


def _rng(recipe: DataRecipe, choice: int, key: SampleKey) -> np.random.Generator:
    return generator(recipe.seed, choice, key.epoch, key.row)
