"""What a network predicts about x = alpha clean + sigma noise, and how one prediction becomes another.

| kind | prediction | levels |
|---|---|---|
| epsilon | noise | alpha^2 + sigma^2 = 1 |
| sample | clean | alpha^2 + sigma^2 = 1 |
| v_prediction | alpha noise - sigma clean (Salimans and Ho 2022, arXiv 2202.00512) | alpha^2 + sigma^2 = 1 |
| flow | noise - clean (Lipman et al. 2022, arXiv 2210.02747) | alpha + sigma = 1 |
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

PredictionType = Literal["epsilon", "sample", "v_prediction", "flow"]


class Level(NamedTuple):
    """A noise level: numbers for a whole batch, or tensors that broadcast, one entry per sample."""

    alpha: float | Tensor
    sigma: float | Tensor


def wide(x: Tensor) -> Tensor:
    """At least float32, which solvers compute in whatever the network runs in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def mix(clean: Tensor, noise: Tensor, level: Level) -> Tensor:
    """Returns alpha clean + sigma noise."""
    return level.alpha * clean + level.sigma * noise


def target_of(clean: Tensor, noise: Tensor, level: Level, kind: PredictionType) -> Tensor:
    """Returns what a network of a kind should predict."""
    if kind == "epsilon":
        return noise
    if kind == "sample":
        return clean
    if kind == "flow":
        return noise - clean
    return level.alpha * noise - level.sigma * clean


def clean_of(prediction: Tensor, noisy: Tensor, level: Level, kind: PredictionType) -> Tensor:
    """Returns the clean latents that a prediction amounts to. Epsilon needs alpha above 0."""
    if kind == "epsilon":
        return (noisy - level.sigma * prediction) / level.alpha
    if kind == "sample":
        return prediction
    if kind == "flow":
        return noisy - level.sigma * prediction
    return level.alpha * noisy - level.sigma * prediction


def noise_of(prediction: Tensor, noisy: Tensor, level: Level, kind: PredictionType) -> Tensor:
    """Returns the noise that a prediction amounts to. Sample needs sigma above 0."""
    if kind == "epsilon":
        return prediction
    if kind == "sample":
        return (noisy - level.alpha * prediction) / level.sigma
    if kind == "flow":
        return noisy + level.alpha * prediction
    return level.alpha * prediction + level.sigma * noisy
