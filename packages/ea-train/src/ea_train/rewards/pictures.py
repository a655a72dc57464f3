"""Frames as the networks of rewards take them. B batch, T frames, S side."""

from dataclasses import dataclass

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class Look:
    """How frames become pictures of a tower.

    Attributes:
        side: S.
        mean: Of red, green and blue.
        std: Of red, green and blue.
        keeps_proportions: Cut the middle square out instead of squeezing the frame into one.
    """

    side: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    keeps_proportions: bool = False

    def __call__(self, frames_B3THW: Tensor) -> Tensor:
        """Frames 0 ... 1 to pictures (B T, 3, S, S), differentiable."""
        x_N3HW = rearrange(frames_B3THW.float(), "b c t h w -> (b t) c h w")
        if self.keeps_proportions:
            height, width = x_N3HW.shape[-2:]
            short = min(height, width)
            top, left = (height - short) // 2, (width - short) // 2
            x_N3HW = x_N3HW[..., top : top + short, left : left + short]
        size = (self.side, self.side)
        x_N3SS = F.interpolate(x_N3HW, size=size, mode="bicubic", align_corners=False, antialias=True)
        mean, std = (x_N3SS.new_tensor(three).view(3, 1, 1) for three in (self.mean, self.std))
        return (x_N3SS - mean) / std


def mean_over_frames(scores_N: Tensor, frames_B3THW: Tensor) -> Tensor:
    """Scores of single frames (B T,) to those of videos (B,)."""
    return scores_N.view(frames_B3THW.shape[0], frames_B3THW.shape[2]).mean(dim=1)
