"""Classifier-free guidance.

Source: Ho and Salimans 2022 (arXiv 2207.12598); rescaling from Lin et al. 2023 (arXiv 2305.08891, section
3.4).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """How two predictions become one.

    Attributes:
        scale: g = negative + scale (positive - negative); 1 and below switch guidance off.
        rescale: Share of g that is brought back to the standard deviation of the positive prediction.
    """

    scale: float = 1.0
    rescale: float = 0.0

    @property
    def active(self) -> bool:
        """Whether the negative prediction is needed."""
        return self.scale > 1

    def combine(self, prediction: Tensor) -> Tensor:
        """Combines a doubled batch [negative, positive] to a single one; returns it as is if not active."""
        if not self.active:
            return prediction
        negative, positive = prediction.chunk(2)
        guided = negative + self.scale * (positive - negative)
        if self.rescale > 0:
            axes = tuple(range(1, guided.ndim))
            ratio = positive.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True)
            guided = self.rescale * (guided * ratio) + (1 - self.rescale) * guided
        return guided

    def double(self, x: Tensor) -> Tensor:
        """Repeats a batch for both halves if guidance is active."""
        return torch.cat((x, x)) if self.active else x
