"""Positions of the tokens. Shapes: T frames, S tokens per frame, D width, P pairs of channels of a head."""

import math

import torch
from torch import Tensor

from ea_dit.families.stdit.config import STDiTConfig
from ea_dit.layers.sincos import sincos_2d


def spatial_table(config: STDiTConfig, grid: tuple[int, int], resolution: Tensor | None) -> Tensor:
    """What is added to the tokens of every frame.

    STDiT divides the cell's index by `space_scale`. STDiT2 spreads rows and columns over one range, the side
    of a square with as many cells, divided by the picture's side in units of `input_sq_size` pixels.

    Args:
        config: Of the model.
        grid: Rows and columns of tokens.
        resolution: (B, 2) pixels, for STDiT2; as released, the first sample's counts for the batch.

    Returns:
        (S, D), float32.
    """
    rows, columns = grid
    if resolution is None:
        extent = (rows / config.space_scale, columns / config.space_scale)
    else:
        height, width = resolution[0].tolist()
        side = round(math.sqrt(rows * columns)) / (math.sqrt(height * width) / config.input_sq_size)
        extent = (side, side)
    return sincos_2d(config.hidden_size, grid, extent=extent).flatten(0, 1)


def temporal_table(config: STDiTConfig, frames: int) -> Tensor:
    """What STDiT adds to the input of its first temporal attention: (T, D), float32, computed in float64."""
    half = config.hidden_size // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(frames, dtype=torch.float64)[:, None] / config.time_scale * frequencies
    return torch.cat((angle.sin(), angle.cos()), dim=-1).float()


def rotary_frequencies(head_dim: int) -> Tensor:
    """Frequencies of STDiT2's temporal attention, 10000^(-2p / channels): (P,), float32."""
    return torch.tensor([10000.0 ** (-channel / head_dim) for channel in range(0, head_dim, 2)])


def rotary_angles(frequencies_P: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the frame indices, each (T, P), float32.

    The frequencies are stored in checkpoints and cast with the weights, so their rounding counts as in
    released runs.
    """
    steps = torch.arange(frames, dtype=torch.float32, device=frequencies_P.device)
    angles_TP = steps[:, None] * frequencies_P.float()
    return angles_TP.cos(), angles_TP.sin()
