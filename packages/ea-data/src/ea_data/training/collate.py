"""From decoded clips to a batch of one shape.

Shapes: B batch, T frames, H and W pixels. Random choices depend on the seed and the samples' keys alone, so a
batch is the same in any worker, on any rank and after a restart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ea_data.frame_masks import FrameMaskKind
from ea_data.geometry.buckets import ResolutionBuckets
from ea_data.geometry.crop import centre_offset, cover_size
from ea_data.masks import MaskKind, random_mask
from ea_data.sampling import generator
from ea_data.training.choices import MASK_KEY, SampleChoices
from ea_data.training.failures import BrokenSample
from ea_data.training.sampler import SampleKey
from ea_data.training.shapes import BatchShape, Kind, ShapeOptions, batch_shape

__all__ = [
    "BatchCollator",
    "ClipBatch",
    "ClipSample",
    "fit_clip",
    "plan_shape",
    "stack_clips",
]

_SHAPE_KEY: Final = 1
_STEP_KEY: Final = 2


@dataclass(frozen=True)
class ClipSample:
    """A decoded file.

    Attributes:
        key: What the dataset was asked for.
        kind: "video" or "image".
        frames: (T, H, W, 3) uint8; T = 1 for a picture.
        text: Its caption.
        control: Frames that steer it, in the same shape; None without.
    """

    key: SampleKey
    kind: Kind
    frames: NDArray[np.uint8]
    text: str = ""
    control: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class ClipBatch:
    """A batch.

    Attributes:
        pixels_BTCHW: (B, T, 3, H, W) float32, -1 to 1.
        texts: B captions.
        keys: Of the samples.
        kind: Of all of them.
        shape: Of each sample; its `repeat` is not yet applied.
        control_BTCHW: Like the pixels, if the samples have control frames.
        masks_BTHW: (B, T, H, W) bool, True where the model has to make pixels, if masks were asked for.
        mask_kinds: Of each sample's mask.
        rays_BTCHW: (B, T, 6, H, W) float32, Pluecker rays of the cameras, if the samples have cameras; zeros
            for one without.
        fps_B: (B,) float32, frames per second of each file; 0 for pictures.
        references_B: (B,) int64, number of the frame that is a reference, if there are references.
        choices: All that was drawn for each sample; of a data set that opens files.
        broken: Files that should have been in the batch and were replaced, in the order in which they failed.
    """

    pixels_BTCHW: Tensor
    texts: tuple[str, ...]
    keys: tuple[SampleKey, ...]
    kind: Kind
    shape: BatchShape
    control_BTCHW: Tensor | None = None
    masks_BTHW: Tensor | None = None
    mask_kinds: tuple[MaskKind | FrameMaskKind, ...] = ()
    rays_BTCHW: Tensor | None = None
    fps_B: Tensor | None = None
    references_B: Tensor | None = None
    choices: tuple[SampleChoices, ...] = ()
    broken: tuple[BrokenSample, ...] = ()


def fit_clip(frames: NDArray[np.uint8], shape: BatchShape) -> Tensor:
    """The first frames of a clip, scaled to cover a size and cut to its centre.

    Bilinear with a low-pass, as the released training scales.

    Args:
        frames: (T, H, W, 3) uint8.
        shape: What is wanted; at most T frames.

    Returns:
        (T, 3, H, W) float32, -1 to 1.

    Raises:
        ValueError: Frames of another type or shape, or too few.
    """
    _check_frames(frames)
    if len(frames) < shape.frames:
        raise ValueError(f"a clip has {len(frames)} frames; allowed: {shape.frames} or more, as its batch")
    planes = np.moveaxis(frames[: shape.frames], 3, 1).astype(np.float32, order="C")
    clip = torch.from_numpy(planes)
    size = cover_size(frames.shape[1], frames.shape[2], shape.height, shape.width)
    if size != tuple(clip.shape[2:]):
        clip = F.interpolate(clip, size=size, mode="bilinear", antialias=True)
    top, left = centre_offset(size[0], shape.height), centre_offset(size[1], shape.width)
    return clip[:, :, top : top + shape.height, left : left + shape.width].contiguous() / 127.5 - 1


def stack_clips(clips: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Clips that have the size of their batch, as pixels.

    Args:
        clips: B times (T, H, W, 3) uint8, all of one shape.

    Returns:
        (B, T, 3, H, W) float32, -1 to 1; what `fit_clip` gives for each.
    """
    frames, height, width, _ = clips[0].shape
    pixels_BTCHW = torch.empty(len(clips), frames, 3, height, width)
    for pixels_TCHW, clip in zip(pixels_BTCHW, clips, strict=True):
        # Frame by frame, so that each stays in the processor's cache while it is changed.
        for pixels_CHW, frame in zip(pixels_TCHW, clip, strict=True):
            pixels_CHW.copy_(torch.from_numpy(frame).permute(2, 0, 1)).div_(127.5).sub_(1)
    return pixels_BTCHW


def plan_shape(
    options: ShapeOptions | ResolutionBuckets,
    seed: int,
    key: SampleKey,
    kind: Kind,
    sizes: Sequence[tuple[int, int]],
    frames: int,
) -> BatchShape:
    """The shape of a batch before any of its files is opened.

    Args:
        options: How batches are shaped.
        seed: Of all choices.
        key: Of the first sample.
        kind: Of all files.
        sizes: (height, width) of every file.
        frames: Of the shortest clip; 1 for pictures.

    Raises:
        ValueError: As `batch_shape` raises.
    """
    if isinstance(options, ResolutionBuckets):
        return BatchShape(options[key.bucket].num_frames, *options.size(key.bucket))
    rng = generator(seed, _SHAPE_KEY, key.epoch, key.batch)
    shared = generator(seed, _STEP_KEY, *key.lead)
    return batch_shape(options, kind, sizes, frames, rng=rng, shared=shared)


@dataclass(frozen=True)
class BatchCollator:
    """Assembles the samples of a batch; the `collate_fn` of a torch `DataLoader`.

    Attributes:
        options: How batches are shaped: by options, or each as its bucket of resolution and frames says.
        seed: Of all choices.
        masks: Whether masks are drawn.
        mask_weights: How often each kind, see `ea_data.masks.random_mask`.
    """

    options: ShapeOptions | ResolutionBuckets
    seed: int = 0
    masks: bool = False
    mask_weights: Mapping[MaskKind, float] | None = None

    def __call__(self, samples: Sequence[ClipSample]) -> ClipBatch:
        """The batch.

        Raises:
            ValueError: Samples of two kinds, of two batches, or only some of them with control frames.
        """
        shape, first = self.shape(samples), samples[0]
        pixels = torch.stack([fit_clip(sample.frames, shape) for sample in samples])
        steering = [fit_clip(sample.control, shape) for sample in samples if sample.control is not None]
        drawn = [self._mask(sample.key, shape) for sample in samples if self.masks]
        return ClipBatch(
            pixels_BTCHW=pixels,
            texts=tuple(sample.text for sample in samples),
            keys=tuple(sample.key for sample in samples),
            kind=first.kind,
            shape=shape,
            control_BTCHW=torch.stack(steering) if steering else None,
            masks_BTHW=torch.from_numpy(np.stack([mask for _, mask in drawn])) if drawn else None,
            mask_kinds=tuple(kind for kind, _ in drawn),
        )

    def shape(self, samples: Sequence[ClipSample]) -> BatchShape:
        """What the samples of a batch are made to be; raises as the call does."""
        _check_batch(samples)
        sizes = [(sample.frames.shape[1], sample.frames.shape[2]) for sample in samples]
        frames = min(len(sample.frames) for sample in samples)
        return plan_shape(self.options, self.seed, samples[0].key, samples[0].kind, sizes, frames)

    def _mask(self, key: SampleKey, shape: BatchShape) -> tuple[MaskKind, NDArray[np.bool_]]:
        rng = generator(self.seed, MASK_KEY, key.epoch, key.row)
        return random_mask(rng, shape.frames, shape.height, shape.width, weights=self.mask_weights)


def _check_batch(samples: Sequence[ClipSample]) -> None:
    if not samples:
        raise ValueError("a batch has no samples; allowed: 1 or more")
    first = samples[0]
    if any(sample.kind != first.kind for sample in samples):
        raise ValueError("a batch holds videos and images; allowed: one kind, as buckets keep them apart")
    if any(sample.key[1:] != first.key[1:] for sample in samples):
        raise ValueError("samples of two batches are in one; allowed: those with the same bucket and batch")
    if len({sample.control is None for sample in samples}) > 1:
        raise ValueError("only some samples of a batch have control frames; allowed: all or none")
    for sample in samples:
        _check_frames(sample.frames)


def _check_frames(frames: NDArray[np.uint8]) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise ValueError(
            f"frames are {frames.dtype} {frames.shape}; allowed: uint8 (T, H, W, 3), none of them 0"
        )
