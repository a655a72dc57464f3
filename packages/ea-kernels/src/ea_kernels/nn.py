"""Norm layers over `ea_kernels.ops`: they hold parameters and nothing else."""

import torch
from torch import Tensor, nn

from ea_kernels.ops import group_norm, layer_norm, rms_norm

__all__ = ["GroupNorm", "LayerNorm", "RMSNorm"]


class LayerNorm(nn.Module):
    """LayerNorm over the last axis with float32 statistics.

    Args:
        width: Size of the last axis.
        eps: Added to the variance.
        affine: Whether there is a weight and a bias.
    """

    def __init__(self, width: int, *, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width)) if affine else None
        self.bias = nn.Parameter(torch.zeros(width)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised x, same shape and dtype."""
        return layer_norm(x, self.weight, self.bias, eps=self.eps)


class RMSNorm(nn.Module):
    """RMSNorm over the last axis; the weight is applied after the cast back.

    Args:
        width: Size of the last axis.
        eps: Added to the mean square.
    """

    def __init__(self, width: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised x, same shape and dtype."""
        return rms_norm(x, self.weight, eps=self.eps)


class GroupNorm(nn.Module):
    """GroupNorm of (B, C, ...) with float32 statistics.

    Args:
        num_groups: Groups that the channels are divided into.
        num_channels: C.
        eps: Added to the variance.
    """

    def __init__(self, num_groups: int, num_channels: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised x, same shape and dtype."""
        return group_norm(x, self.num_groups, self.weight, self.bias, eps=self.eps)
