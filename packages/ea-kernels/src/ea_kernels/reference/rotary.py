"""Rotary position embedding written out, interleaved pairs."""

import torch
from torch import Tensor


def apply_rotary(x_BLHD: Tensor, cos_LP: Tensor, sin_LP: Tensor) -> Tensor:
    """Rotates pair p = (2p, 2p+1) of every token by its angle; float32 inside.

    Args:
        x_BLHD: Queries or keys.
        cos_LP: Cosines, one per token and pair, P = D / 2.
        sin_LP: Sines.
    """
    even, odd = x_BLHD.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos_LP.float()[:, None, :], sin_LP.float()[:, None, :]
    rotated = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return rotated.flatten(-2).to(x_BLHD.dtype)
