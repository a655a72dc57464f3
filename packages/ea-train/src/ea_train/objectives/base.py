"""What a loss asks of a network, and a task of a loss.

Shapes: B batch, C latent channels, T latent frames; t, h, w the latent sizes.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ea_train.objectives.levels import Ranks


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The chance in a loss.

    Attributes:
        noise_BCthw: What the target is made of.
        seen_BCthw: What is mixed into the latents; the same but with input perturbation.
        level_B: Noise levels of a flow, or whole timesteps.
    """

    noise_BCthw: Tensor
    seen_BCthw: Tensor
    level_B: Tensor


class Predict(Protocol):
    """The network with text and conditions bound."""

    def __call__(
        self, noisy_BCthw: Tensor, timestep_B: Tensor, frame_mask_BT: Tensor | None = None
    ) -> Tensor:
        """Prediction for noisy latents; frames where the mask is False are at timestep 0."""
        ...


class Objective(Protocol):
    """A loss of denoising."""

    def draw(self, latents_BCthw: Tensor, generator: torch.Generator, ranks: Ranks) -> Drawn:
        """Draw noise, then noise levels, for the latents of a micro-batch; on their device."""
        ...

    def at(self, latents_BCthw: Tensor, generator: torch.Generator, position: float) -> Drawn:
        """Draw noise at one place, 0 up to 1, of the schedule: what validation compares."""
        ...

    def losses(
        self, predict: Predict, latents_BCthw: Tensor, drawn: Drawn, frame_mask_BT: Tensor | None = None
    ) -> Tensor:
        """Loss of every sample, (B,) float32.

        Raises:
            ValueError: Frames are held, and this loss has no place for them.
        """
        ...


def refuse_held_frames(frame_mask_BT: Tensor | None, loss: str) -> None:
    """Raise for losses that have no place for frames that are given.

    Raises:
        ValueError: There are such frames.
    """
    if frame_mask_BT is not None:
        raise ValueError(f"objective.loss {loss!r} takes no held frames; that is for 'iddpm'")
