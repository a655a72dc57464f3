"""Latents of equal loudness, so that one scaling factor suits every channel.

The released layout knows a single scaling factor, but channels of a trained autoencoder differ in loudness by
a factor of ten, and a denoiser learns quiet channels last: at most noise levels they are drowned. The 1x1x1
convolutions on both sides of the latents can carry a shift and a scale per channel without changing what the
autoencoder computes.
"""

import copy

import torch
from torch import Tensor

from ea_vae import MagvitVae


@torch.no_grad()
def equalised(vae: MagvitVae, mean_K: Tensor, std_K: Tensor) -> MagvitVae:
    """A copy whose latents are (z - mean) / std where those of `vae` are z, with the same reconstructions.

    Args:
        vae: The autoencoder.
        mean_K: Mean of each latent channel.
        std_K: Standard deviation of each latent channel, posterior noise included, so that a channel that
            holds nothing but noise stays quiet.

    Raises:
        ValueError: A deviation that is not positive.
    """
    if not bool((std_K > 0).all()):
        raise ValueError(f"std_K must be positive, got {std_K.tolist()}")
    vae = copy.deepcopy(vae)
    into, out_of = vae.quant_conv, vae.post_quant_conv
    assert into.bias is not None
    assert out_of.bias is not None
    channels = len(std_K)
    into.weight[:channels] /= std_K.view(-1, 1, 1, 1, 1)
    into.bias[:channels] = (into.bias[:channels] - mean_K) / std_K
    into.bias[channels:] -= 2 * std_K.log()
    out_of.bias += out_of.weight.flatten(1) @ mean_K
    out_of.weight *= std_K.view(1, -1, 1, 1, 1)
    return vae
