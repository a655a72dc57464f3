"""The loss of DDPM models (V4 and V5, and V1 to V3 without their variance). B batch."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ea_dit.diffusion.ddpm import DdpmSchedule
from ea_train.objectives.base import Drawn, Predict, refuse_held_frames
from ea_train.objectives.errors import ErrorConfig, sample_losses
from ea_train.objectives.levels import LevelConfig, Ranks, draw_positions, timesteps_of
from ea_train.objectives.noise import NoiseConfig, draw_noise


@dataclass(frozen=True, kw_only=True)
class DdpmObjective:
    """The network learns noise, velocity or latents; of a prediction with a variance the first half counts.

    Attributes:
        schedule: With the type of prediction.
        count: Timesteps 0 ... count - 1 are drawn.
        levels: Which of them.
        snr_gamma: Where the weight by the signal-to-noise ratio stops to grow; 0 weighs all alike.
        errors: How errors count.
        noise: How noise is made.
    """

    schedule: DdpmSchedule
    count: int = 1000
    levels: LevelConfig = field(default_factory=LevelConfig)
    snr_gamma: float = 0.0
    errors: ErrorConfig = field(default_factory=ErrorConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    def draw(self, latents_BCthw: Tensor, generator: torch.Generator, ranks: Ranks) -> Drawn:
        """Noise, then timesteps."""
        noise, seen = draw_noise(latents_BCthw, self.noise, generator)
        u_B = draw_positions(self.levels, len(latents_BCthw), generator, ranks, count=self.count)
        return Drawn(noise_BCthw=noise, seen_BCthw=seen, level_B=self._steps(u_B, noise))

    def at(self, latents_BCthw: Tensor, generator: torch.Generator, position: float) -> Drawn:
        """Noise at one place of the schedule; 0 is the clean end."""
        noise = torch.randn(latents_BCthw.shape, generator=generator).to(latents_BCthw.device)
        u_B = torch.full((len(noise),), position, dtype=torch.float64)
        return Drawn(noise_BCthw=noise, seen_BCthw=noise, level_B=self._steps(u_B, noise))

    def losses(
        self, predict: Predict, latents_BCthw: Tensor, drawn: Drawn, frame_mask_BT: Tensor | None = None
    ) -> Tensor:
        """Loss of every sample."""
        refuse_held_frames(frame_mask_BT, "ddpm")
        steps_B, schedule = drawn.level_B, self.schedule
        noisy = schedule.add_noise(latents_BCthw, drawn.seen_BCthw, steps_B)
        prediction = predict(noisy, steps_B)[:, : latents_BCthw.shape[1]]
        target = schedule.target(latents_BCthw, drawn.noise_BCthw, steps_B)
        weight_B = schedule.loss_weight(steps_B, self.snr_gamma) if self.snr_gamma else None
        return sample_losses(prediction, target, weight_B, self.errors)

    def _steps(self, u_B: Tensor, like: Tensor) -> Tensor:
        return timesteps_of(u_B, self.count).to(like.device)
