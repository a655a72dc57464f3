"""Timesteps, weights and the loss of EasyAnimate's flow training (V5.1).

Source: the released trainer; the schemes are those of Esser et al. 2024 (arXiv 2403.03206). B batch.
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ea_dit.diffusion.flow import FlowMatching

__all__ = [
    "FlowLevels",
    "LossWeighting",
    "flow_levels",
    "limited_errors",
    "limited_mse",
    "logit_normal_positions",
    "loss_weight",
    "mode_positions",
]

LossWeighting = Literal["none", "sigma_sqrt", "cosmap", "logit_normal", "mode"]


class FlowLevels(NamedTuple):
    """What training sees at a position of the schedule.

    Attributes:
        timesteps: (B,) as the network takes them.
        sigmas: (B,) noise levels.
    """

    timesteps: Tensor
    sigmas: Tensor


def logit_normal_positions(normal_B: Tensor, *, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Positions sigmoid(mean + std n) of unit normal draws n, `weighting_scheme` "logit_normal"."""
    return torch.sigmoid(mean + std * normal_B)


def mode_positions(u_B: Tensor, scale: float = 1.29) -> Tensor:
    """Positions of uniform draws with more of them in the middle, `weighting_scheme` "mode" (eq. 20)."""
    return 1 - u_B - scale * (torch.cos(math.pi / 2 * u_B) ** 2 - 1 + u_B)


def flow_levels(flow: FlowMatching, u_B: Tensor) -> FlowLevels:
    """Looks positions up in the schedule of training.

    Position 0 is pure noise, and 1 the clean end: the table falls.

    Args:
        flow: The schedule, with its shift.
        u_B: Positions in [0, 1).

    Raises:
        ValueError: A position outside.
    """
    if u_B.numel() and not bool(((u_B >= 0) & (u_B < 1)).all()):
        raise ValueError("a position lies outside; allowed: 0 up to, not including, 1")
    sigmas = flow.sigmas(flow.num_train_timesteps)[(u_B * flow.num_train_timesteps).long()]
    return FlowLevels(flow.timesteps(sigmas), sigmas)


def loss_weight(sigma_B: Tensor, scheme: LossWeighting) -> Tensor:
    """What the error of a sample counts: 1 but for "sigma_sqrt" (sigma^-2) and "cosmap".

    Raises:
        ValueError: An unknown scheme.
    """
    if scheme not in get_args(LossWeighting):
        raise ValueError(f"weighting_scheme is {scheme!r}; allowed: {', '.join(get_args(LossWeighting))}")
    if scheme == "sigma_sqrt":
        return sigma_B**-2.0
    if scheme == "cosmap":
        return 2 / (math.pi * (1 - 2 * sigma_B + 2 * sigma_B**2))
    return torch.ones_like(sigma_B)


def limited_errors(prediction: Tensor, target: Tensor, *, limit: float | None = 50.0) -> Tensor:
    """Squared errors of elements, float32; those that are wrong by more than `limit` are 0.

    Released training survives single broken latents by this.

    Args:
        prediction: Any shape.
        target: The same.
        limit: Largest difference that counts; None has none.
    """
    difference = prediction.float() - target.float()
    if limit is None:
        return difference.square()
    return torch.where(difference.abs() <= limit, difference**2, 0.0)


def limited_mse(
    prediction: Tensor, target: Tensor, weight: Tensor | None = None, *, limit: float = 50.0
) -> Tensor:
    """Mean of `limited_errors`; elements that are wrong by more still count as elements.

    Args:
        prediction: (B, ...).
        target: Same shape.
        weight: Broadcast over it; None counts all alike.
        limit: Largest difference that counts.

    Returns:
        A float32 scalar.
    """
    squared = limited_errors(prediction, target, limit=limit)
    return (squared if weight is None else squared * weight).mean()
