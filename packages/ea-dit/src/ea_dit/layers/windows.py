"""Regrouping the tokens of a video so that a plain attention sees frames, positions or small neighbourhoods.

Shapes: B batch, T frames, S tokens per frame, L = T S tokens, D width. Tokens are ordered frame, row, column.
"""

from einops import rearrange
from torch import Tensor


def to_frames(x_BLD: Tensor, frames: int) -> Tensor:
    """Returns (B T, S, D): every frame a sequence of its own."""
    return rearrange(x_BLD, "b (t s) d -> (b t) s d", t=frames)


def from_frames(x_NSD: Tensor, frames: int) -> Tensor:
    """Undoes `to_frames`."""
    return rearrange(x_NSD, "(b t) s d -> b (t s) d", t=frames)


def to_positions(x_BLD: Tensor, frames: int) -> Tensor:
    """Returns (B S, T, D): every spatial position a sequence over the frames."""
    return rearrange(x_BLD, "b (t s) d -> (b s) t d", t=frames)


def from_positions(x_NTD: Tensor, frames: int, *, batch: int) -> Tensor:
    """Undoes `to_positions`."""
    return rearrange(x_NTD, "(b s) t d -> b (t s) d", b=batch, t=frames)


def to_neighbourhoods(x_BLD: Tensor, grid: tuple[int, int, int], size: int) -> Tensor:
    """Returns (B h/size w/size, T size size, D): every square of size x size positions over all frames.

    Args:
        x_BLD: Tokens.
        grid: Tokens along time, rows (h), columns (w); rows and columns are multiples of `size`.
        size: Side of the square.
    """
    t, h, w = grid
    return rearrange(
        x_BLD,
        "b (t h p w q) d -> (b h w) (t p q) d",
        t=t,
        h=h // size,
        w=w // size,
        p=size,
        q=size,
    )


def from_neighbourhoods(x_NSD: Tensor, grid: tuple[int, int, int], size: int) -> Tensor:
    """Undoes `to_neighbourhoods`."""
    t, h, w = grid
    return rearrange(
        x_NSD,
        "(b h w) (t p q) d -> b (t h p w q) d",
        t=t,
        h=h // size,
        w=w // size,
        p=size,
        q=size,
    )
