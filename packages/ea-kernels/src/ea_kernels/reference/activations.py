"""Activations written out, float32 inside."""

import math

import torch
from torch import Tensor


def gelu(x: Tensor, *, tanh: bool) -> Tensor:
    """Gaussian error linear unit, exact or with the tanh approximation."""
    x32 = x.float()
    if tanh:
        inner = math.sqrt(2 / math.pi) * (x32 + 0.044715 * x32**3)
        return (0.5 * x32 * (1 + torch.tanh(inner))).to(x.dtype)
    return (0.5 * x32 * (1 + torch.erf(x32 / math.sqrt(2)))).to(x.dtype)


def geglu(x: Tensor) -> Tensor:
    """Splits the last axis in halves (a, g) and returns a * exact gelu(g)."""
    value, gate = x.float().chunk(2, dim=-1)
    return (value * gelu(gate, tanh=False)).to(x.dtype)


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x)."""
    x32 = x.float()
    return (x32 * torch.sigmoid(x32)).to(x.dtype)
