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


def per_token(modulation: Tensor, tokens: int) -> Tensor:
    """Spreads (B, D), or (B, G, D) for G groups of consecutive tokens, to broadcast with (B, L, D)."""
    if modulation.ndim == 2:
        return modulation.unsqueeze(1)
    groups = modulation.shape[1]
    return modulation if groups in (1, tokens) else modulation.repeat_interleave(tokens // groups, dim=1)


def modulate(x_BLD: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Computes x (1 + scale) + shift with one scale and shift per sample, (B, D), or per group, (B, G, D)."""
    tokens = x_BLD.shape[1]
    out = x_BLD.float() * (1 + per_token(scale.float(), tokens)) + per_token(shift.float(), tokens)
    return out.to(x_BLD.dtype)


def gated_residual(x_BLD: Tensor, gate: Tensor, update_BLD: Tensor) -> Tensor:
    """Computes x + gate * update with one gate per sample, (B, D), or per group, (B, G, D)."""
    out = x_BLD.float() + per_token(gate.float(), x_BLD.shape[1]) * update_BLD.float()
    return out.to(x_BLD.dtype)


def modulated_layer_norm(
    x_BLD: Tensor, scale: Tensor, shift: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Computes `modulate(layer_norm(x))` in float32 throughout, with one cast at the end."""
    weight, bias = (None if p is None else p.float() for p in (weight, bias))
    return modulate(layer_norm(x_BLD.float(), weight, bias, eps), scale, shift).to(x_BLD.dtype)


def group_norm_silu(
    x: Tensor, num_groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, *, per_frame: bool
) -> Tensor:
    """GroupNorm of (B, C, ...), or of every frame of (B, C, T, H, W) on its own, then x * sigmoid(x)."""
    x32 = x.float().transpose(1, 2).flatten(0, 1) if per_frame else x.float()
    out = group_norm(x32, num_groups, weight, bias, eps)
    out = (out * torch.sigmoid(out)).to(x.dtype)
    return out.unflatten(0, (x.shape[0], -1)).transpose(1, 2) if per_frame else out
