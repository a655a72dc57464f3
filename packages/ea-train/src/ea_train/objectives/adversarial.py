"""Patch discriminator on frames, and its hinge losses."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches of single frames: strided 4x4 convolutions, group norm, leaky ReLU.

    Args:
        width: Channels after the first convolution; doubles at each of `num_layers`.
        num_layers: Halvings of the resolution.
    """

    def __init__(self, width: int = 32, num_layers: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for _ in range(num_layers - 1):
            layers += [
                nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
                nn.GroupNorm(8, 2 * width),
                nn.LeakyReLU(0.2),
            ]
            width *= 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, padding=1))

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        """Logits of the patches of every frame, (B T, 1, h, w); positive means real."""
        return self.layers(rearrange(video_BCTHW, "b c t h w -> (b t) c h w"))


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator from logits of real and generated frames."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_weight: Tensor) -> Tensor:
    """Weight that gives both losses the same gradient norm at the decoder's last convolution, in [0, 1e4].

    Source: Esser et al. 2021, "Taming Transformers", equation 7.
    """
    (rec,) = torch.autograd.grad(reconstruction, last_weight, retain_graph=True)
    (adv,) = torch.autograd.grad(adversarial, last_weight, retain_graph=True)
    return (rec.norm() / (adv.norm() + 1e-4)).clamp(0, 1e4).detach()
