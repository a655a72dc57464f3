"""Latent video to tokens and back. Tokens are ordered frame, then row, then column.

Shapes: B batch, C channels, T frames, H and W latent size, L tokens, D width, P patch size.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """Cuts every frame into square patches and projects each to a token.

    The weight has the shape of the equivalent convolution, (D, C, P, P), because released weights do; the
    computation is one matrix product.

    Args:
        in_channels: C.
        width: D.
        patch_size: P.
    """

    def __init__(self, in_channels: int, width: int, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.weight = nn.Parameter(torch.empty(width, in_channels, patch_size, patch_size))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.weight.view(width, -1))

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Returns tokens (B, T * H / P * W / P, D)."""
        return F.linear(self.patches(x_BCTHW), self.weight.flatten(1), self.bias)

    def patches(self, x_BCTHW: Tensor) -> Tensor:
        """Returns the numbers of every patch (B, T * H / P * W / P, C P P)."""
        p = self.patch_size
        return rearrange(x_BCTHW, "b c t (h p) (w q) -> b (t h w) (c p q)", p=p, q=p)


def token_grid(x_BCTHW: Tensor, patch_size: int, *, square: int = 1) -> tuple[int, int, int]:
    """Returns the tokens along time, rows and columns.

    Args:
        x_BCTHW: What is cut into patches.
        patch_size: P.
        square: Rows and columns of tokens must be multiples of this.

    Raises:
        ValueError: If H or W is no multiple of P times `square`.
    """
    frames, height, width = x_BCTHW.shape[2:]
    side = patch_size * square
    if height % side or width % side:
        raise ValueError(f"latent height and width must be multiples of {side}, got {height} x {width}")
    return frames, height // patch_size, width // patch_size


def unpatchify(
    tokens_BLK: Tensor, *, grid: tuple[int, int, int], patch_size: int, channel_last: bool = False
) -> Tensor:
    """Puts tokens of K = C P P numbers back into a video.

    Args:
        tokens_BLK: Tokens.
        grid: Tokens along time, rows, columns.
        patch_size: P.
        channel_last: Whether a token's numbers are ordered (row, column, channel) instead of (channel, row,
            column).

    Returns:
        (B, C, T, H, W).
    """
    t, h, w = grid
    token = "p q c" if channel_last else "c p q"
    pattern = f"b (t h w) ({token}) -> b c t (h p) (w q)"
    return rearrange(tokens_BLK, pattern, t=t, h=h, w=w, p=patch_size, q=patch_size)
