"""Additive sin-cos position tables. Shapes: D width, N positions, rows x columns a grid."""

import math

import torch
from torch import Tensor


def sincos_2d(
    width: int,
    grid: tuple[int, int],
    *,
    extent: float | tuple[float, float],
    device: torch.device | None = None,
) -> Tensor:
    """Position table of a grid: quarters of the width hold sin(x), cos(x), sin(y), cos(y); x is the column.

    Args:
        width: D, a multiple of 4.
        grid: Rows and columns.
        extent: Coordinate range, of rows and columns or one for both; cell i of n lies at i * extent / n.
        device: Where to make it.

    Returns:
        (rows, columns, D), float32, computed in float64.
    """
    rows, columns = grid
    extent_y, extent_x = extent if isinstance(extent, tuple) else (extent, extent)
    exact = {"dtype": torch.float64, "device": device}
    frequencies = 10000.0 ** (-torch.arange(width // 4, **exact) / (width // 4))
    y = (torch.arange(rows, **exact) * extent_y / rows)[:, None] * frequencies
    x = (torch.arange(columns, **exact) * extent_x / columns)[:, None] * frequencies
    x_half = torch.cat((x.sin(), x.cos()), dim=-1)[None].expand(rows, -1, -1)
    y_half = torch.cat((y.sin(), y.cos()), dim=-1)[:, None].expand(-1, columns, -1)
    return torch.cat((x_half, y_half), dim=-1).float()


def sincos_1d(length: int, width: int, *, device: torch.device | None = None) -> Tensor:
    """Position table of a sequence: sin on the even, cos on the odd channels, 10000^(-2i / D).

    Args:
        length: N.
        width: D, even.
        device: Where to make it.

    Returns:
        (N, D), float32.
    """
    steps = {"dtype": torch.float32, "device": device}
    frequencies = torch.exp(torch.arange(0, width, 2, **steps) * (-math.log(10000.0) / width))
    angle = torch.arange(length, **steps)[:, None] * frequencies
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)
