"""The shape of a batch: size, frames and repetition, in the vocabulary of EasyAnimate's options.

A shape depends on the options, on the sizes of the batch's files, and on two generators: one of the batch and
one that all ranks share in a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ea_data.geometry.aspect import ASPECTS, CROP_WEIGHTS
from ea_data.geometry.tokens import FrameGrid, Rule, batch_repeat, budget_sides, frame_table
from ea_data.media.limits import MAX_SIDE
from ea_data.sampling import Choice, frame_count_choice, resolution_choice

__all__ = [
    "MAX_FRAMES",
    "BatchShape",
    "Kind",
    "ShapeOptions",
    "aspect_bucket_ids",
    "batch_shape",
    "repeat_videos",
]

Kind = Literal["video", "image"]

MAX_FRAMES: Final = 10_000
"""Most frames of a clip, and between two of its frames, that can be asked for."""

_CLOSE_ENOUGH: Final = 1.25


@dataclass(frozen=True, kw_only=True)
class ShapeOptions:
    """How batches are shaped. Sides are 16 to 16384 pixels.

    Attributes:
        video_sample_size: Side of clips; with `training_with_video_token_length` the smallest.
        image_sample_size: Side of pictures; with `training_with_video_token_length` the largest of clips.
        token_sample_size: Side at which `video_sample_n_frames` use up the token budget.
        video_sample_n_frames: The most frames of a clip, up to 10000.
        grid: Lengths that the autoencoder takes.
        enable_bucket: Sizes of about the file's aspect instead of squares.
        random_ratio_crop: Any of 15 aspects instead of the nearest; needs `enable_bucket`.
        random_hw_adapt: Divide the side by a random factor.
        training_with_video_token_length: Repeat small batches; with `random_hw_adapt`, draw the side of clips
            among those that the files are large enough for, and give larger ones fewer frames.
        random_frame_crop: One of ten batches is cut to fewer frames.
        keep_all_node_same_token_length: In each step, cut the clips of all ranks to one random token budget.
        token_rule: How frames are counted, see `ea_data.geometry.tokens.frame_table`.
    """

    video_sample_size: int = 512
    image_sample_size: int = 512
    token_sample_size: int = 512
    video_sample_n_frames: int = 17
    grid: FrameGrid = field(default_factory=FrameGrid)
    enable_bucket: bool = True
    random_ratio_crop: bool = False
    random_hw_adapt: bool = False
    training_with_video_token_length: bool = False
    random_frame_crop: bool = False
    keep_all_node_same_token_length: bool = False
    token_rule: Rule = "documented"

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        for name in ("video_sample_size", "image_sample_size", "token_sample_size"):
            if not 16 <= getattr(self, name) <= MAX_SIDE:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: 16 to {MAX_SIDE} pixels")
        if not 1 <= self.video_sample_n_frames <= MAX_FRAMES:
            raise ValueError(
                f"video_sample_n_frames is {self.video_sample_n_frames}; allowed: 1 to {MAX_FRAMES}"
            )
        if self.token_rule not in get_args(Rule):
            raise ValueError(f"token_rule is {self.token_rule!r}; allowed: {', '.join(get_args(Rule))}")
        if self.random_ratio_crop and not self.enable_bucket:
            raise ValueError("random_ratio_crop is set without enable_bucket; allowed: both or neither")

    @property
    def budget(self) -> int:
        """Pixels of the token budget: frames x height x width."""
        return self.video_sample_n_frames * self.token_sample_size**2

    def side_frames(self) -> dict[int, int]:
        """Frames of clips by side, when the side is drawn."""
        return frame_table(
            video_size=self.video_sample_size,
            image_size=self.image_sample_size,
            token_size=self.token_sample_size,
            num_frames=self.video_sample_n_frames,
            grid=self.grid,
            rule=self.token_rule,
        )


@dataclass(frozen=True)
class BatchShape:
    """What all samples of a batch are made to be.

    Attributes:
        frames: Of each sample.
        height: In pixels.
        width: In pixels.
        repeat: How often the finished batch is repeated, with texts and conditions.
    """

    frames: int
    height: int
    width: int
    repeat: int = 1


def batch_shape(
    options: ShapeOptions,
    kind: Kind,
    sizes: Sequence[tuple[int, int]],
    frames: int,
    *,
    rng: np.random.Generator,
    shared: np.random.Generator,
) -> BatchShape:
    """The shape of one batch.

    Args:
        options: How batches are shaped.
        kind: Of all files of the batch.
        sizes: (height, width) of every file; the aspect is that of the first.
        frames: Of the shortest clip; 1 for pictures.
        rng: Of the batch.
        shared: Of the step, the same on all ranks.

    Raises:
        ValueError: No files, a size below 1, or a side without 16 pixels for the aspect.
    """
    if not sizes or frames < 1:
        raise ValueError(f"a batch has {len(sizes)} files and {frames} frames; allowed: 1 or more")
    side, limit = _side(options, kind, sizes, rng)
    if options.enable_bucket:
        height, width = ASPECTS.size(_aspect(options, sizes[0], rng), side)
    else:
        height = width = int(side) // 16 * 16
    if kind == "video":
        length = options.grid.fit(min(frames, limit))
        if options.random_frame_crop:
            length = min(length, frame_count_choice(options.video_sample_n_frames, options.grid).draw(rng))
        if options.keep_all_node_same_token_length:
            length = min(length, _shared_limit(options, height * width, shared))
    else:
        length = 1
    repeat = 1
    if options.training_with_video_token_length:
        token_size, most = options.token_sample_size, options.video_sample_n_frames
        repeat = batch_repeat(length, height, width, token_size=token_size, num_frames=most)
    return BatchShape(length, height, width, repeat)


def repeat_videos(is_video: NDArray[np.bool_], video_repeat: int = 1) -> NDArray[np.int64]:
    """The rows of an epoch, in which videos come several times: pictures first, once, then the videos.

    Args:
        is_video: (N,) whether each row is a video.
        video_repeat: How often each video comes.

    Raises:
        ValueError: A number below 1. EasyAnimate's default, 0, left out every video.
    """
    if video_repeat < 1:
        raise ValueError(
            f"video_repeat is {video_repeat}; allowed: 1 or more (to train on pictures, list only pictures)"
        )
    return np.concatenate((np.flatnonzero(~is_video), np.tile(np.flatnonzero(is_video), video_repeat)))


def aspect_bucket_ids(
    is_video: NDArray[np.bool_], heights: NDArray[np.int64], widths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The bucket of every row with `enable_bucket`: 0 to 39 pictures and 40 to 79 videos, by aspect.

    Without `enable_bucket` the buckets are the two types alone: `is_video.astype(int)`.
    """
    return is_video * len(ASPECTS) + ASPECTS.nearest(heights, widths)


def _side(
    options: ShapeOptions, kind: Kind, sizes: Sequence[tuple[int, int]], rng: np.random.Generator
) -> tuple[float, int]:
    """The side of the square with as many pixels, and the most frames at it."""
    most = options.video_sample_n_frames
    if kind == "image":
        side = options.image_sample_size
        if options.random_hw_adapt:
            return side / resolution_choice(side, side / options.video_sample_size).draw(rng), most
        return side, most
    side = options.video_sample_size
    if not options.random_hw_adapt:
        return side, most
    if not options.training_with_video_token_length:
        return side / resolution_choice(side).draw(rng), most
    frames_of = options.side_frames()
    smallest = min((height + width) / 2 for height, width in sizes)
    fitting = [side for side in frames_of if side < _CLOSE_ENOUGH * smallest] or list(frames_of)
    side = fitting[int(rng.integers(len(fitting)))]
    return side, frames_of[side]


def _aspect(options: ShapeOptions, size: tuple[int, int], rng: np.random.Generator) -> int:
    if not options.random_ratio_crop:
        return int(ASPECTS.nearest(*size))
    total = sum(CROP_WEIGHTS.values())
    choice = Choice(tuple(CROP_WEIGHTS), tuple(weight / total for weight in CROP_WEIGHTS.values()))
    return ASPECTS.names.index(choice.draw(rng))


def _shared_limit(options: ShapeOptions, pixels: int, shared: np.random.Generator) -> int:
    """Frames of a clip within the budget that all ranks draw in a step."""
    drawable = budget_sides(options.token_sample_size)
    side = drawable[int(shared.integers(len(drawable)))]
    most = options.video_sample_n_frames
    return options.grid.fit(min(most * side**2 / pixels, most))
