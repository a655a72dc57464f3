"""Reconstruction terms of autoencoder training. Videos are (B, 3, T, H, W) in [-1, 1]."""

import torch
import torch.nn.functional as F
from torch import Tensor


def gradient_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of finite differences in space and time: edges and motion, no network."""
    axes = [axis for axis in (2, 3, 4) if target.shape[axis] > 1]
    return torch.stack([F.l1_loss(output.diff(dim=axis), target.diff(dim=axis)) for axis in axes]).mean()


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each clip, over all its values; peak is the full range of 2."""
    error = (output.float().clamp(-1, 1) - target.float()).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(4.0 / error.clamp_min(1e-10))


def kl_to_unit_normal(mean: Tensor, logvar: Tensor) -> Tensor:
    """Kullback-Leibler divergence to the unit normal, averaged over every latent value."""
    return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
