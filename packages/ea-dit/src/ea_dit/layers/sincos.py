"""Additive sin-cos position tables. Shapes: D width, rows x columns a grid."""

import torch
from torch import Tensor


def sincos_2d(
    width: int, grid: tuple[int, int], *, extent: float, device: torch.device | None = None
) -> Tensor:
    """Position table of a grid: quarters of the width hold sin(x), cos(x), sin(y), cos(y); x is the column.

    Args:
        width: D, a multiple of 4.
        grid: Rows and columns.
        extent: Coordinate range; cell i of n lies at i * extent / n.
        device: Where to make it.

    Returns:
        (rows, columns, D), float32, computed in float64.
    """
    rows, columns = grid
    exact = {"dtype": torch.float64, "device": device}
    frequencies = 10000.0 ** (-torch.arange(width // 4, **exact) / (width // 4))
    y = (torch.arange(rows, **exact) * extent / rows)[:, None] * frequencies
    x = (torch.arange(columns, **exact) * extent / columns)[:, None] * frequencies
    x_half = torch.cat((x.sin(), x.cos()), dim=-1)[None].expand(rows, -1, -1)
    y_half = torch.cat((y.sin(), y.cos()), dim=-1)[:, None].expand(-1, columns, -1)
    return torch.cat((x_half, y_half), dim=-1).float()
