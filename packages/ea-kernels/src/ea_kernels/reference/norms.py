"""Norms, modulation and gating written out; statistics in float32, one cast at the end."""

import torch
from torch import Tensor


def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Normalises the last axis to mean 0 and (biased) variance 1, then applies weight and bias."""
    x32 = x.float()
    centred = x32 - x32.mean(dim=-1, keepdim=True)
    out = centred * torch.rsqrt(centred.square().mean(dim=-1, keepdim=True) + eps)
    if weight is not None:
        out = out * weight.float()
    if bias is not None:
        out = out + bias.float()
    return out.to(x.dtype)


def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    """Divides the last axis by its root mean square; casts back before the weight, as released."""
    x32 = x.float()
    out = (x32 * torch.rsqrt(x32.square().mean(dim=-1, keepdim=True) + eps)).to(x.dtype)
    return out if weight is None else out * weight


def group_norm(x: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Normalises each group of channels of (B, C, ...) over its channels and all later axes."""
    x32 = x.float().reshape(x.shape[0], num_groups, -1)
    centred = x32 - x32.mean(dim=-1, keepdim=True)
    out = centred * torch.rsqrt(centred.square().mean(dim=-1, keepdim=True) + eps)
    out = out.reshape(x.shape)
    per_channel = (1, -1, *([1] * (x.ndim - 2)))
    if weight is not None:
        out = out * weight.float().reshape(per_channel)
    if bias is not None:
        out = out + bias.float().reshape(per_channel)
    return out.to(x.dtype)


def modulate(x_BLD: Tensor, scale_BD: Tensor, shift_BD: Tensor) -> Tensor:
    """Computes x (1 + scale) + shift with one scale and shift per sample."""
    out = x_BLD.float() * (1 + scale_BD.float().unsqueeze(1)) + shift_BD.float().unsqueeze(1)
    return out.to(x_BLD.dtype)


def gated_residual(x_BLD: Tensor, gate_BD: Tensor, update_BLD: Tensor) -> Tensor:
    """Computes x + gate * update with one gate per sample."""
    out = x_BLD.float() + gate_BD.float().unsqueeze(1) * update_BLD.float()
    return out.to(x_BLD.dtype)
