"""From a prediction to the loss of every sample. B batch, C latent channels; t, h, w the latent sizes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ea_dit.diffusion.flow_training import limited_errors
from ea_train.objectives.levels import require_share


@dataclass(frozen=True, kw_only=True)
class ErrorConfig:
    """How errors count.

    Attributes:
        limit: Elements that are wrong by more count as right; 0 has no limit. Released training survives
            single broken latents by this.
        motion_share: Part of the loss that is the error of the changes from frame to frame, for clips of
            more than two latent frames; 0 has none. Released: 0.25.
        channel_weights: What an error in each latent channel counts, relative to the others; empty counts
            all alike.
    """

    limit: float = 50.0
    motion_share: float = 0.0
    channel_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse weights that weigh nothing."""
        require_share("objective.errors.motion_share", self.motion_share)
        if self.limit < 0:
            raise ValueError(f"objective.errors.limit must be at least 0, got {self.limit}")
        weights = self.channel_weights
        if weights and (min(weights) < 0 or max(weights) == 0):
            raise ValueError(
                f"objective.errors.channel_weights must be numbers from 0, not all of them 0, got {weights}"
            )


_LEAST_FRAMES = 3


def sample_losses(
    prediction_BCthw: Tensor, target_BCthw: Tensor, weight_B: Tensor | None, config: ErrorConfig
) -> Tensor:
    """Weighted mean squared error of every sample.

    Args:
        prediction_BCthw: What the network says.
        target_BCthw: What it should say.
        weight_B: Of the samples; None counts all alike.
        config: How errors count.

    Returns:
        (B,) float32.

    Raises:
        ValueError: There are not as many channel weights as channels.
    """
    squared = limited_errors(prediction_BCthw, target_BCthw, limit=config.limit or None)
    if config.channel_weights:
        weights_C = relative(config.channel_weights, squared.shape[1]).to(squared.device)
        squared = squared * weights_C.view(-1, 1, 1, 1)
    loss_B = squared.flatten(1).mean(dim=1)
    if weight_B is not None:
        loss_B = loss_B * weight_B.to(loss_B)
    if config.motion_share and prediction_BCthw.shape[2] >= _LEAST_FRAMES:
        changes = (prediction_BCthw.float() - target_BCthw.float()).diff(dim=2).square()
        share = config.motion_share
        loss_B = (1 - share) * loss_B + share * changes.flatten(1).mean(dim=1)
    return loss_B


def relative(weights: tuple[float, ...], channels: int) -> Tensor:
    """Weights of mean 1, (channels,).

    Raises:
        ValueError: There are not as many as channels.
    """
    if len(weights) != channels:
        raise ValueError(f"channel weights must be {channels} numbers, got {len(weights)}")
    weights_C = torch.tensor(weights)
    return weights_C / weights_C.mean()
