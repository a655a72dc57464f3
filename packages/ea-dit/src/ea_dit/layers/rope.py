"""Rotary angles of a video token grid.

The spatial grid is fitted into a base grid (the one a model was first trained on), keeping its aspect ratio
and centred; coordinates are spread evenly over the region, so any size sees coordinates of the same range.
Of n tokens over a region, token i sits at offset + size * i / n. (Newer diffusers versions use another rule
whenever the offset is not zero; released weights were trained with this one.)
Shapes: L tokens, P pairs of channels.
"""

import torch
from torch import Tensor


def fit_grid(grid: tuple[int, int], base: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Fits a token grid into a base grid.

    Args:
        grid: Rows and columns of tokens.
        base: Rows and columns of the base grid.

    Returns:
        (offset, size) of the rows, (offset, size) of the columns, in base coordinates.
    """
    (height, width), (base_height, base_width) = grid, base
    if height / width > base_height / base_width:
        size_h, size_w = base_height, round(base_height / height * width)
    else:
        size_h, size_w = round(base_width / width * height), base_width
    return (round((base_height - size_h) / 2), size_h), (round((base_width - size_w) / 2), size_w)


def rope_2d(
    grid: tuple[int, int],
    head_dim: int,
    *,
    base: tuple[int, int],
    theta: float = 10000.0,
    device: torch.device | None = None,
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles of every token of a picture.

    The first half of the head's channels encodes the column, the second half the row.

    Args:
        grid: Rows and columns of tokens.
        head_dim: Channels of one head, a multiple of 4.
        base: Base grid, rows and columns.
        theta: Base of the frequencies theta^(-2i / channels).
        device: Where to make them.

    Returns:
        cos_LP and sin_LP, float32, one entry per token and pair of channels.
    """
    if head_dim % 4:
        raise ValueError(f"head_dim must be a multiple of 4 for 2D rotary positions, got {head_dim}")
    rows, columns = grid
    (top, height), (left, width) = fit_grid(grid, base)
    steps = {"dtype": torch.float32, "device": device}
    y = top + height * torch.arange(rows, **steps) / rows
    x = left + width * torch.arange(columns, **steps) / columns
    count = head_dim // 2
    frequencies = theta ** (-torch.arange(0, count, 2, **steps) / count)
    x_half = (x[:, None] * frequencies).expand(rows, -1, -1)
    y_half = (y[:, None] * frequencies)[:, None].expand(-1, columns, -1)
    angles_LP = torch.cat((x_half, y_half), dim=-1).flatten(0, 1)
    return angles_LP.cos(), angles_LP.sin()


def rope_3d(
    grid: tuple[int, int, int],
    head_dim: int,
    *,
    base: tuple[int, int],
    theta: float = 10000.0,
    device: torch.device | None = None,
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles of every token of a video.

    A quarter of the head's channels encodes the frame index, three eighths the row, three eighths the column.

    Args:
        grid: Tokens along time, rows, columns.
        head_dim: Channels of one head, a multiple of 16 (so that every axis has whole pairs).
        base: Base grid, rows and columns.
        theta: Base of the frequencies theta^(-2i / channels).
        device: Where to make them.

    Returns:
        cos_LP and sin_LP, float32, one entry per token and pair of channels.
    """
    if head_dim % 16:
        raise ValueError(f"head_dim must be a multiple of 16 for 3D rotary positions, got {head_dim}")
    frames, rows, columns = grid
    (top, height), (left, width) = fit_grid((rows, columns), base)
    steps = {"dtype": torch.float32, "device": device}
    coordinates = (
        torch.arange(frames, **steps),
        top + height * torch.arange(rows, **steps) / rows,
        left + width * torch.arange(columns, **steps) / columns,
    )
    channels = (head_dim // 4, head_dim // 8 * 3, head_dim // 8 * 3)
    angles = []
    for axis, (coordinate, count) in enumerate(zip(coordinates, channels, strict=True)):
        frequencies = theta ** (-torch.arange(0, count, 2, **steps) / count)
        angle = coordinate[:, None] * frequencies
        shape = [1, 1, 1, count // 2]
        shape[axis] = grid[axis]
        angles.append(angle.view(shape).expand(frames, rows, columns, count // 2))
    angles_LP = torch.cat(angles, dim=-1).flatten(0, 2)
    return angles_LP.cos(), angles_LP.sin()
