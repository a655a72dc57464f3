"""Where training clips come from: any object that makes clip `index` as a pure function of (seed, index)."""

import random
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ea_data.manifest import Entry, read_manifest
from ea_data.synthetic import caption, render, sample_scene
from ea_data.synthetic.styles import find_style
from ea_data.synthetic.vocabulary import Language, Split
from ea_data.transforms import cover_crop

_HELD_OUT_EVERY = 20


class ClipSource(Protocol):
    """Clips and captions by index."""

    def clip(self, index: int, *, num_frames: int, height: int, width: int) -> Tensor:
        """Float32 (3, T, H, W) in [-1, 1]."""
        ...

    def caption(self, index: int, *, variant: int, language: Language) -> str:
        """A caption of that clip; `variant` chooses the words."""
        ...

    def describe(self) -> str:
        """What clips these are; another text means other clips."""
        ...


class ProceduralClips:
    """Scenes of the procedural shape dataset.

    Args:
        seed: Seed of the dataset.
        split: `train` or `heldout`.
        style: One of `ea_data.synthetic.styles.STYLES`; empty for clips as they are drawn.
    """

    def __init__(self, seed: int, *, split: Split = "train", style: str = "") -> None:
        self.seed = seed
        self.style = find_style(style) if style else None
        self.split: Split = split

    def clip(self, index: int, *, num_frames: int, height: int, width: int) -> Tensor:
        """Float32 (3, T, H, W) in [-1, 1]."""
        spec = sample_scene(self.seed, index, split=self.split)
        frames = render(spec, num_frames=num_frames, height=height, width=width)
        return to_model_range(self.style.apply(frames) if self.style else frames)

    def caption(self, index: int, *, variant: int, language: Language) -> str:
        """A caption of that clip; variant 0 is the canonical sentence."""
        return caption(sample_scene(self.seed, index, split=self.split), language, variant)

    def describe(self) -> str:
        """Generator, seed, split and style."""
        style = f" style={self.style.name}" if self.style else ""
        return f"procedural seed={self.seed} split={self.split}{style}"


class ManifestClips:
    """Videos and pictures of a manifest: index `i` is file `i % files`, cut at a random place in time.

    Frames are scaled until they cover the wanted size and cropped around their centre. A picture stands
    still.

    Args:
        manifest: A .json, .jsonl or .csv file as `ea_data.manifest` reads it.
        seed: Of the places in time.
        split: Every twentieth file is `heldout`, the others are `train`. With fewer than twenty files both
            hold all of them and differ only in the places in time.
        num_frames: Most frames that will be asked for; every video must have as many.

    Raises:
        ValueError: The manifest or a file of it cannot be used, or a video is too short.
    """

    def __init__(self, manifest: Path, seed: int, *, split: Split = "train", num_frames: int = 1) -> None:
        entries = entries_of(manifest, split)
        self.manifest = manifest
        self.seed = seed
        self.split: Split = split
        self.entries = entries
        for entry in entries:
            _require_frames(entry, num_frames)

    def clip(self, index: int, *, num_frames: int, height: int, width: int) -> Tensor:
        """Float32 (3, T, H, W) in [-1, 1].

        Raises:
            ValueError: The file is damaged or has fewer frames.
        """
        from ea_data.media import MediaError, read_frames  # noqa: PLC0415  (machines that only train on drawings lack av)

        entry = self.entries[index % len(self.entries)]
        frames = read_frames(entry.path)
        if entry.type == "image" or len(frames) == 1:
            frames = np.repeat(frames[:1], num_frames, axis=0)
        if len(frames) < num_frames:
            raise MediaError(f"{entry.path} has {len(frames)} frames; {num_frames} are needed")
        # Text seeds are hashed by `random` itself, the same on every machine and in every process.
        start = random.Random(f"{self.seed} {self.split} {index}").randint(0, len(frames) - num_frames)
        return to_model_range(cover_crop(frames[start : start + num_frames], height, width))

    def caption(self, index: int, *, variant: int, language: Language) -> str:
        """The manifest's text of that file, whatever the variant and the language."""
        del variant, language
        return self.entries[index % len(self.entries)].text

    def describe(self) -> str:
        """Number of files, seed and split."""
        return f"{self.manifest.name} files={len(self.entries)} seed={self.seed} split={self.split}"


def entries_of(manifest: Path, split: Split) -> tuple[Entry, ...]:
    """Files of a manifest: every twentieth is `heldout`, the others are `train`.

    With fewer than twenty files both hold all of them.

    Raises:
        ValueError: The manifest cannot be used.
    """
    entries = read_manifest(manifest).entries
    if len(entries) < _HELD_OUT_EVERY or split == "all":
        return entries
    rows = range(len(entries))
    wanted = [row for row in rows if (row % _HELD_OUT_EVERY == 0) == (split == "heldout")]
    return tuple(entries[row] for row in wanted)


def to_model_range(video_THWC: NDArray[np.uint8]) -> Tensor:
    """uint8 (T, H, W, 3) to float32 (3, T, H, W) in [-1, 1]."""
    video = torch.from_numpy(np.ascontiguousarray(video_THWC))
    return video.permute(3, 0, 1, 2).float().div(127.5).sub(1.0)


def _require_frames(entry: Entry, num_frames: int) -> None:
    from ea_data.media import probe  # noqa: PLC0415  (as above)

    info = probe(entry.path)
    # A file that does not say how many frames it has is found out when it is read.
    if entry.type == "video" and info.kind == "video" and (info.frames or num_frames) < num_frames:
        raise ValueError(
            f"{entry.path} has {info.frames} frames; {num_frames} are needed, take it out of the manifest"
        )
