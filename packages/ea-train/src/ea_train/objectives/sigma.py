"""The losses of models with a learned variance (V1 to V3, Open-Sora). B batch, T latent frames."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ea_dit.diffusion.iddpm_loss import IddpmLoss, SpeedSampling
from ea_train.objectives.base import Drawn, Predict
from ea_train.objectives.levels import LevelConfig, Ranks, draw_positions, timesteps_of
from ea_train.objectives.noise import NoiseConfig, draw_noise


@dataclass(frozen=True, kw_only=True)
class VarianceObjective:
    """The network learns noise, and its variance by the variational bound.

    Attributes:
        loss: The loss with its process, of which all steps are kept.
        levels: Which steps are drawn.
        noise: How noise is made.
    """

    loss: IddpmLoss
    levels: LevelConfig = field(default_factory=LevelConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    def draw(self, latents_BCthw: Tensor, generator: torch.Generator, ranks: Ranks) -> Drawn:
        """Noise, then timesteps."""
        noise, seen = draw_noise(latents_BCthw, self.noise, generator)
        batch, count = len(latents_BCthw), len(self.loss.process)
        if self.levels.density == "speed":
            steps_B = self._speed.sample(batch, generator)
        else:
            u_B = draw_positions(self.levels, batch, generator, ranks, count=count)
            steps_B = timesteps_of(u_B, count)
        return Drawn(noise_BCthw=noise, seen_BCthw=seen, level_B=steps_B.to(noise.device))

    def at(self, latents_BCthw: Tensor, generator: torch.Generator, position: float) -> Drawn:
        """Noise at one place of the schedule; 0 is the clean end."""
        noise = torch.randn(latents_BCthw.shape, generator=generator).to(latents_BCthw.device)
        u_B = torch.full((len(noise),), position, dtype=torch.float64)
        steps_B = timesteps_of(u_B, len(self.loss.process)).to(noise.device)
        return Drawn(noise_BCthw=noise, seen_BCthw=noise, level_B=steps_B)

    def losses(
        self, predict: Predict, latents_BCthw: Tensor, drawn: Drawn, frame_mask_BT: Tensor | None = None
    ) -> Tensor:
        """Loss of every sample; frames where the mask is False are conditions and count in none."""
        steps_B, clean = drawn.level_B, latents_BCthw.float()
        process = self.loss.process
        sample = process.noised(clean, drawn.noise_BCthw, steps_B, frame_mask_BT)
        if drawn.seen_BCthw is not drawn.noise_BCthw:
            seen = process.noised(clean, drawn.seen_BCthw, steps_B, frame_mask_BT)
            sample = sample._replace(noisy=seen.noisy)
        timesteps_B = process.timesteps.to(steps_B.device)[steps_B]
        prediction = predict(sample.noisy, timesteps_B, frame_mask_BT)
        return self.loss(prediction, sample).loss

    @cached_property
    def _speed(self) -> SpeedSampling:
        return SpeedSampling(self.loss.process)
