"""The noise of training. B batch, C latent channels; t, h, w the latent sizes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ea_train.objectives.levels import require_share


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """How noise is made of unit normal draws.

    Attributes:
        share_in_frames: Part of a latent frame's noise that is that of the frame before it; 0 draws all of
            them alone. Released: 0.5.
        offset: Strength of a draw that all values of a channel share.
        input_perturbation: Strength of further noise that the network sees and the target lacks.
    """

    share_in_frames: float = 0.0
    offset: float = 0.0
    input_perturbation: float = 0.0

    def __post_init__(self) -> None:
        """Refuse strengths that cannot be meant."""
        require_share("objective.noise.share_in_frames", self.share_in_frames)
        for name in ("offset", "input_perturbation"):
            if getattr(self, name) < 0:
                raise ValueError(f"objective.noise.{name} must be at least 0, got {getattr(self, name)}")


def draw_noise(
    latents_BCthw: Tensor, config: NoiseConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw noise for latents.

    Args:
        latents_BCthw: Whose shape and device it has.
        config: How.
        generator: A CPU generator.

    Returns:
        The noise of the target, and that which the network sees; both float32.
    """
    noise = torch.randn(latents_BCthw.shape, generator=generator)
    if config.share_in_frames:
        noise = shared_in_frames(noise, config.share_in_frames)
    if config.offset:
        noise = noise + config.offset * torch.randn(*noise.shape[:2], 1, 1, 1, generator=generator)
    noise = noise.to(latents_BCthw.device)
    if not config.input_perturbation:
        return noise, noise
    more = torch.randn(latents_BCthw.shape, generator=generator).to(latents_BCthw.device)
    return noise, noise + config.input_perturbation * more


def shared_in_frames(noise_BCthw: Tensor, share: float) -> Tensor:
    """Mix the noise of every frame but the first with that of the frame before, which is mixed already.

    As released the parts are added as they are, so the noise of later frames is weaker.
    """
    frames = [noise_BCthw[:, :, 0]]
    for index in range(1, noise_BCthw.shape[2]):
        frames.append(share * frames[-1] + (1 - share) * noise_BCthw[:, :, index])
    return torch.stack(frames, dim=2)
