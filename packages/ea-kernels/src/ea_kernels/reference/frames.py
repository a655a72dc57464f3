"""What a causal convolution reads and keeps, written out. B batch, C channels, P past frames, T frames."""

import torch
from torch import Tensor


def join_frames(past_BCPHW: Tensor, x_BCTHW: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """[past | x], and a copy of its last `keep` frames."""
    joined = torch.cat((past_BCPHW, x_BCTHW), dim=2)
    return joined, joined[:, :, joined.shape[2] - keep :].clone()
