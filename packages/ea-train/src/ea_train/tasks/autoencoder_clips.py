"""Square cuts of clips and pictures, for finetuning autoencoders.

Which file, where in it and how large the cut is, are functions of an index: batches can be made again.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ea_data.manifest import Entry
from ea_data.synthetic.vocabulary import Split
from ea_data.transforms import resize
from ea_train.sources import ProceduralClips, entries_of, to_model_range

_SMALLEST_SHARE = 0.25
"""Least side of a cut in shares of the shorter side, as released."""


@dataclass(frozen=True, kw_only=True)
class CutSize:
    """What is cut out.

    Attributes:
        num_frames: Frames.
        side: Height and width in pixels.
        strides: Most source frames between two frames; how many is drawn from 1 on.
    """

    num_frames: int
    side: int
    strides: int = 1


class CutSource(Protocol):
    """Cuts by index."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """What there is: "video", "image" or both."""
        ...

    def cut(self, index: int, kind: str, size: CutSize) -> Tensor:
        """Float32 (3, T, S, S) in [-1, 1]; T is 1 for the kind "image"."""
        ...

    def describe(self) -> str:
        """What these are; another text means others."""
        ...


class ProceduralCuts:
    """Scenes of the procedural dataset, drawn at the wanted size; a picture is the beginning of a scene.

    Args:
        seed: Of the dataset.
        split: `train` or `heldout`.
    """

    kinds: tuple[str, ...] = ("video", "image")

    def __init__(self, seed: int, *, split: Split = "train") -> None:
        self._clips = ProceduralClips(seed, split=split)

    def cut(self, index: int, kind: str, size: CutSize) -> Tensor:
        """See `CutSource`."""
        clip = self._clips.clip(index, num_frames=size.num_frames, height=size.side, width=size.side)
        return clip[:, :1] if kind == "image" else clip

    def describe(self) -> str:
        """Generator, seed and split."""
        return self._clips.describe()


class ManifestCuts:
    """Videos and pictures of a manifest.

    The side of a cut is between a quarter and all of the shorter side, its place random; frames follow each
    other at a random distance. Where a manifest has no pictures, frames of its videos are pictures.

    Args:
        manifest: A list as `ea_data.manifest` reads it.
        seed: Of places and sizes.
        split: See `ea_train.sources.entries_of`.
        num_frames: Most frames that will be asked for.

    Raises:
        ValueError: The manifest or a file of it cannot be used, or a video is too short.
    """

    def __init__(self, manifest: Path, seed: int, *, split: Split = "train", num_frames: int = 1) -> None:
        entries = entries_of(manifest, split)
        self._videos = tuple(entry for entry in entries if entry.type == "video")
        self._pictures = tuple(entry for entry in entries if entry.type == "image")
        self._name, self._seed, self._split = manifest.name, seed, split
        for entry in self._videos:
            _require_frames(entry, num_frames)

    @property
    def kinds(self) -> tuple[str, ...]:
        """See `CutSource`."""
        return ("video", "image") if self._videos else ("image",)

    def cut(self, index: int, kind: str, size: CutSize) -> Tensor:
        """See `CutSource`.

        Raises:
            ValueError: The file is damaged or has fewer frames.
        """
        # Text seeds are hashed by `random` itself, the same on every machine and in every process.
        rng = random.Random(f"{self._seed} {self._split} {kind} {index}")
        if kind == "image" and self._pictures:
            return to_model_range(_square_of_picture(rng.choice(self._pictures).path, size.side, rng))
        wanted = CutSize(num_frames=1, side=size.side) if kind == "image" else size
        return to_model_range(_square_of_video(rng.choice(self._videos).path, wanted, rng))

    def describe(self) -> str:
        """Number of files, seed and split."""
        count = len(self._videos) + len(self._pictures)
        return f"{self._name} files={count} seed={self._seed} split={self._split} squares"


def _square_of_picture(path: Path, side: int, rng: random.Random) -> NDArray[np.uint8]:
    from ea_data.media import read_image  # noqa: PLC0415  (machines that only train on drawings lack av)

    picture = read_image(path)
    top, left, length = _box(picture.shape[0], picture.shape[1], rng)
    return resize(picture[None, top : top + length, left : left + length], side, side)


def _square_of_video(path: Path, size: CutSize, rng: random.Random) -> NDArray[np.uint8]:
    from ea_data.media import MediaError, VideoReader  # noqa: PLC0415  (as above)

    with VideoReader(path, threads=1) as reader:
        total, needed = len(reader), size.num_frames
        if total < needed:
            raise MediaError(f"{path} has {total} frames; {needed} are needed")
        widest = min(size.strides, (total - 1) // max(needed - 1, 1))
        stride = rng.randint(1, max(widest, 1))
        start = rng.randint(0, total - 1 - stride * (needed - 1))
        frames: Sequence[int] = range(start, start + stride * (needed - 1) + 1, stride)
        height, width, _ = reader[start].shape
        box = _box(height, width, rng)
        return reader.read(frames, size=(size.side, size.side), crop=(*box, box[2]))


def _box(height: int, width: int, rng: random.Random) -> tuple[int, int, int]:
    """Top, left and side of a square."""
    short = min(height, width)
    side = max(int(short * rng.uniform(_SMALLEST_SHARE, 1.0)), 1)
    return rng.randint(0, height - side), rng.randint(0, width - side), side


def _require_frames(entry: Entry, num_frames: int) -> None:
    from ea_data.media import probe  # noqa: PLC0415  (as above)

    info = probe(entry.path)
    # A file that does not say how many frames it has is found out when it is read.
    if (info.frames or num_frames) < num_frames:
        raise ValueError(
            f"{entry.path} has {info.frames} frames; {num_frames} are needed, take it out of the manifest"
        )
