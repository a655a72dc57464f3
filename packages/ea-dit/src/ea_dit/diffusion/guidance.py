"""Classifier-free guidance.

Source: Ho and Salimans 2022 (arXiv 2207.12598); rescaling from Lin et al. 2023 (arXiv 2305.08891, section
3.4).
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """How two predictions become one.

    Attributes:
        scale: g = negative + scale (positive - negative); 1 and below switch guidance off.
        rescale: Share of g that is brought back to the standard deviation of the positive prediction.
        cfg_channel: Only that many leading channels are guided, the others are the positive prediction's;
            None guides all. Open-Sora's released configs say 3; a learned variance is never guided.
    """

    scale: float = 1.0
    rescale: float = 0.0
    cfg_channel: int | None = None

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        if self.cfg_channel is not None and self.cfg_channel < 1:
            raise ValueError(f"cfg_channel must be at least 1, got {self.cfg_channel}")

    @property
    def active(self) -> bool:
        """Whether the negative prediction is needed."""
        return self.scale > 1

    def combine(self, prediction: Tensor) -> Tensor:
        """Combines a doubled batch [negative, positive] to a single one; returns it as is if not active."""
        if not self.active:
            return prediction
        negative, positive = prediction.chunk(2)
        if self.cfg_channel is None:
            return self._guide(negative, positive)
        guided = self._guide(negative[:, : self.cfg_channel], positive[:, : self.cfg_channel])
        return torch.cat((guided, positive[:, self.cfg_channel :]), dim=1)

    def _guide(self, negative: Tensor, positive: Tensor) -> Tensor:
        guided = negative + self.scale * (positive - negative)
        if self.rescale > 0:
            axes = tuple(range(1, guided.ndim))
            ratio = positive.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True)
            guided = self.rescale * (guided * ratio) + (1 - self.rescale) * guided
        return guided

    def double(self, x: Tensor) -> Tensor:
        """Repeats a batch for both halves if guidance is active."""
        return torch.cat((x, x)) if self.active else x


@dataclass(frozen=True, kw_only=True)
class GuidanceSchedule:
    """Guidance that changes over a run, or is skipped in a part of it, which saves half of the work there.

    Skipping at both ends: Kynkaanniemi et al. 2024 (arXiv 2404.07724).

    Attributes:
        guidance: Of the first step.
        end_scale: Scale of the last step; None keeps the first one.
        curve: How the scale goes from one to the other, by the share of steps that is done.
        first: Share of the steps, 0 ... 1, that are done without guidance at the beginning.
        last: Share of the steps after which the rest is done without.
    """

    guidance: Guidance
    end_scale: float | None = None
    curve: Literal["linear", "cosine"] = "linear"
    first: float = 0.0
    last: float = 1.0

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        if self.curve not in ("linear", "cosine"):
            raise ValueError(f"curve must be 'linear' or 'cosine', got {self.curve!r}")
        if not 0 <= self.first <= self.last <= 1:
            raise ValueError(f"must be 0 <= first <= last <= 1, got first {self.first} and last {self.last}")

    def at(self, index: int, total: int) -> Guidance:
        """Returns the guidance of step `index` of `total`; one that is not active where it is skipped."""
        if not total * self.first <= index < total * self.last:
            return replace(self.guidance, scale=1.0)
        if self.end_scale is None:
            return self.guidance
        share = index / max(total - 1, 1)
        if self.curve == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        scale = self.guidance.scale + share * (self.end_scale - self.guidance.scale)
        return replace(self.guidance, scale=scale)
