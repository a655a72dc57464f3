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


def summed_per_frame(error_BCTHW: Tensor) -> Tensor:
    """Sum over the values of a frame, averaged over all frames: the reduction of released training."""
    return error_BCTHW.sum() / (error_BCTHW.shape[0] * error_BCTHW.shape[2])


def outlier_penalty(mean_BKTHW: Tensor) -> Tensor:
    """How far latents leave three standard deviations around the mean of their channel and frame, on average.

    Positions that do grow into bright spots in what a denoiser makes. Released training has it since V4.
    """
    centre = mean_BKTHW.mean(dim=(3, 4), keepdim=True)
    # Clamped: the root of zero, in flat pictures, has no gradient.
    spread = mean_BKTHW.var(dim=(3, 4), keepdim=True).clamp_min(1e-12).sqrt()
    return ((mean_BKTHW - centre).abs() - 3 * spread).clamp_min(0).mean()
