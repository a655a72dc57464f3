"""The loss of flow models (V5.1, the bundled model). B batch."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ea_dit.diffusion.flow import FlowMatching
from ea_dit.diffusion.flow_training import LossWeighting, flow_levels, loss_weight
from ea_dit.diffusion.timesteps import SigmaSampling
from ea_train.objectives.base import Drawn, Predict, refuse_held_frames
from ea_train.objectives.errors import ErrorConfig, sample_losses
from ea_train.objectives.levels import LevelConfig, Ranks, draw_positions
from ea_train.objectives.noise import NoiseConfig, draw_noise


@dataclass(frozen=True, kw_only=True)
class FlowObjective:
    """The network learns noise minus latents.

    Attributes:
        flow: The schedule that noise levels are looked up in, see `training_flow`.
        levels: What is drawn: places of the schedule's table, as released, or sigmas of any value.
        weighting: What a sample counts by its noise level.
        errors: How errors count.
        noise: How noise is made.
    """

    flow: FlowMatching
    levels: LevelConfig | SigmaSampling = field(default_factory=LevelConfig)
    weighting: LossWeighting = "none"
    errors: ErrorConfig = field(default_factory=ErrorConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    def draw(self, latents_BCthw: Tensor, generator: torch.Generator, ranks: Ranks) -> Drawn:
        """Noise, then noise levels."""
        noise, seen = draw_noise(latents_BCthw, self.noise, generator)
        batch = len(latents_BCthw)
        if isinstance(self.levels, SigmaSampling):
            sigma_B = self.levels.sample(batch, generator)
        else:
            count = self.flow.num_train_timesteps
            sigma_B = self._at(draw_positions(self.levels, batch, generator, ranks, count=count))
        return Drawn(noise_BCthw=noise, seen_BCthw=seen, level_B=sigma_B.to(latents_BCthw.device))

    def at(self, latents_BCthw: Tensor, generator: torch.Generator, position: float) -> Drawn:
        """Noise at one place of the schedule; 0 is pure noise."""
        noise = torch.randn(latents_BCthw.shape, generator=generator).to(latents_BCthw.device)
        sigma_B = self._at(torch.full((len(noise),), position, dtype=torch.float64)).to(noise.device)
        return Drawn(noise_BCthw=noise, seen_BCthw=noise, level_B=sigma_B)

    def losses(
        self, predict: Predict, latents_BCthw: Tensor, drawn: Drawn, frame_mask_BT: Tensor | None = None
    ) -> Tensor:
        """Loss of every sample."""
        refuse_held_frames(frame_mask_BT, "flow")
        sigma_B = drawn.level_B
        noisy = self.flow.add_noise(latents_BCthw, drawn.seen_BCthw, sigma_B)
        prediction = predict(noisy, self.flow.timesteps(sigma_B))
        target = self.flow.target(latents_BCthw, drawn.noise_BCthw)
        weight_B = None if self.weighting == "none" else loss_weight(sigma_B, self.weighting)
        return sample_losses(prediction, target, weight_B, self.errors)

    def _at(self, u_B: Tensor) -> Tensor:
        return flow_levels(self.flow, u_B).sigmas


def training_flow(flow: FlowMatching, *, shift: float = 0.0) -> FlowMatching:
    """The schedule that training looks noise levels up in.

    Args:
        flow: Of the model. A shift that follows the size of a run is one of sampling: training has none then,
            as released.
        shift: Another shift; 0 keeps that of the model.
    """
    if not shift:
        shift = 1.0 if flow.use_dynamic_shifting else flow.shift
    return replace(flow, shift=shift, use_dynamic_shifting=False)
