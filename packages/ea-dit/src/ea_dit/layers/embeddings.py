"""Embeddings of timesteps, sizes and text. Shapes: B batch, L tokens, N numbers, D, C and E widths."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ea_kernels import ops
from ea_kernels.nn import RMSNorm


def timestep_sinusoid(
    timestep_B: Tensor, width: int, *, cos_first: bool = True, freq_shift: float = 0.0
) -> Tensor:
    """Sinusoidal features of timesteps.

    Args:
        timestep_B: Timesteps, any float or integer dtype; they are used as they are, so the caller's
            rounding counts.
        width: Number of features, even.
        cos_first: Layout [cos | sin] instead of [sin | cos].
        freq_shift: Subtracted from the number of frequencies in the exponent.

    Returns:
        (B, width), float32.
    """
    half = width // 2
    # Multiplied, then divided, as released programs do. The exponential of that float32 number is computed in
    # float64: one bit more or less of it, where machines differ, is 1e-5 of the features of timestep 1000.
    exponent = -math.log(10000.0) * torch.arange(half, dtype=torch.float32, device=timestep_B.device)
    frequencies = torch.exp((exponent / (half - freq_shift)).double()).float()
    angle = timestep_B.float()[:, None] * frequencies
    parts = (angle.cos(), angle.sin()) if cos_first else (angle.sin(), angle.cos())
    return torch.cat(parts, dim=-1)


class TimestepEmbed(nn.Module):
    """Linear, SiLU, Linear over the sinusoid of a timestep.

    Args:
        features: Width of the sinusoid.
        width: Width of the result.
        cos_first: See `timestep_sinusoid`.
        freq_shift: See `timestep_sinusoid`.
    """

    def __init__(self, features: int, width: int, *, cos_first: bool = True, freq_shift: float = 0.0) -> None:
        super().__init__()
        self.features = features
        self.cos_first = cos_first
        self.freq_shift = freq_shift
        self.inner = nn.Linear(features, width)
        self.outer = nn.Linear(width, width)

    def forward(self, timestep_B: Tensor) -> Tensor:
        """Returns (B, width) in the dtype of the weights."""
        sinusoid = timestep_sinusoid(
            timestep_B, self.features, cos_first=self.cos_first, freq_shift=self.freq_shift
        )
        return self.outer(F.silu(self.inner(sinusoid.to(self.inner.weight.dtype))))


class TextEmbed(nn.Module):
    """Projection of text states to the model's width, with an RMSNorm in front in newer releases.

    Args:
        text_width: Width of the states.
        width: D.
        norm: Whether there is the RMSNorm.
    """

    def __init__(self, text_width: int, width: int, *, norm: bool) -> None:
        super().__init__()
        self.norm = RMSNorm(text_width, eps=1e-6) if norm else None
        self.projection = nn.Linear(text_width, width)

    def forward(self, states_BLE: Tensor) -> Tensor:
        """Returns text tokens (B, L, D)."""
        if self.norm is not None:
            states_BLE = self.norm(states_BLE)
        return self.projection(states_BLE)


def embed_numbers(embed: TimestepEmbed, values_BN: Tensor) -> Tensor:
    """Embeds several numbers per sample (sizes, ratios, rates) by one network, side by side.

    Returns:
        (B, N * width of the embedding).
    """
    return embed(values_BN.flatten()).unflatten(0, tuple(values_BN.shape)).flatten(1)


class CaptionEmbed(nn.Module):
    """Linear, tanh-approximated GELU, Linear: text (or image) states to tokens.

    Args:
        in_width: Width of the states.
        width: Width of the result, and in between.
    """

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(in_width, width)
        self.outer = nn.Linear(width, width)

    def forward(self, states_BLE: Tensor) -> Tensor:
        """Returns (B, L, width)."""
        return self.outer(ops.gelu(self.inner(states_BLE), tanh=True, reuse=True))
