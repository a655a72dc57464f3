"""What an encoder says about a clip, and the scales of latents and pixels.

Shape letters: B batch, K latent channels, T latent frames, H and W latent height and width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LOGVAR_RANGE = (-30.0, 20.0)


@dataclass(frozen=True)
class Posterior:
    """Independent normal distributions, one per latent value.

    Attributes:
        mean: [B, K, T, H, W].
        logvar: Logarithm of the variance, same shape, within -30 to 20.
    """

    mean: Tensor
    logvar: Tensor

    @classmethod
    def from_moments(cls, moments_BKTHW: Tensor) -> "Posterior":
        """Split encoder output [B, 2K, T, H, W] into mean and clamped log-variance."""
        mean, logvar = moments_BKTHW.chunk(2, dim=1)
        return cls(mean=mean, logvar=logvar.clamp(*LOGVAR_RANGE))

    def mode(self) -> Tensor:
        """The most likely latents, which is the mean."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw latents.

        The noise is drawn on the generator's device (CPU without one), so a seed gives the same latents on
        every device.

        Args:
            generator: Source of the noise; None uses torch's global CPU generator.

        Returns:
            Latents of the shape and type of `mean`.
        """
        device = generator.device if generator is not None else torch.device("cpu")
        noise = torch.randn(self.mean.shape, generator=generator, device=device)
        return self.at(noise.to(self.mean))

    def at(self, noise: Tensor) -> Tensor:
        """The latents that the given unit normal noise, shaped like `mean`, leads to."""
        return self.mean + torch.exp(0.5 * self.logvar) * noise

    def kl(self) -> Tensor:
        """Divergence from the unit normal, summed over all but the batch, [B]."""
        mean, logvar = self.mean.float(), self.logvar.float()
        return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).sum(dim=(1, 2, 3, 4))


def scale_latents(latents: Tensor, scaling_factor: float) -> Tensor:
    """Latents as the autoencoder gives them to latents as a transformer sees them."""
    return latents * scaling_factor


def unscale_latents(latents: Tensor, scaling_factor: float) -> Tensor:
    """The inverse of `scale_latents`."""
    return latents / scaling_factor


def to_unit_range(video: Tensor) -> Tensor:
    """Decoded pixels around [-1, 1] to float32 pixels within [0, 1]."""
    return (video.float().clamp(-1.0, 1.0) / 2 + 0.5).clamp(0.0, 1.0)
