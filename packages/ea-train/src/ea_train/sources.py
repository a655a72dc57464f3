"""Where training clips come from: any object that makes clip `index` as a pure function of (seed, index)."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ea_data.synthetic import caption, render, sample_scene
from ea_data.synthetic.vocabulary import Language, Split


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
    """

    def __init__(self, seed: int, *, split: Split = "train") -> None:
        self.seed = seed
        self.split = split

    def clip(self, index: int, *, num_frames: int, height: int, width: int) -> Tensor:
        """Float32 (3, T, H, W) in [-1, 1]."""
        spec = sample_scene(self.seed, index, split=self.split)
        return to_model_range(render(spec, num_frames=num_frames, height=height, width=width))

    def caption(self, index: int, *, variant: int, language: Language) -> str:
        """A caption of that clip; variant 0 is the canonical sentence."""
        return caption(sample_scene(self.seed, index, split=self.split), language, variant)

    def describe(self) -> str:
        """Generator, seed and split."""
        return f"procedural seed={self.seed} split={self.split}"


def to_model_range(video_THWC: np.ndarray) -> Tensor:
    """uint8 (T, H, W, 3) to float32 (3, T, H, W) in [-1, 1]."""
    return torch.from_numpy(video_THWC).permute(3, 0, 1, 2).float().div(127.5).sub(1.0)
