"""Patches of frames, rows and columns.

Shapes: B batch, C channels, T frames, H and W latent size, L tokens, D width, K numbers per token.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

Grid = tuple[int, int, int]


class VideoPatchEmbed(nn.Module):
    """Cuts a latent video into patches, the last ones filled up with zeros, and projects each to a token.

    The weight has the shape of the equivalent 3D convolution, as released; the computation is one product.

    Args:
        in_channels: C.
        width: D.
        patch_size: Frames, rows and columns of a patch.
    """

    def __init__(self, in_channels: int, width: int, patch_size: Grid) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.weight = nn.Parameter(torch.empty(width, in_channels, *patch_size))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.xavier_uniform_(self.weight.view(width, -1))

    def grid(self, size: Grid) -> Grid:
        """Tokens along time, rows and columns of a video of the given latent size."""
        t, h, w = (-(-length // patch) for length, patch in zip(size, self.patch_size, strict=True))
        return t, h, w

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Returns tokens (B, L, D), ordered frame, row, column."""
        return F.linear(self.patches(x_BCTHW), self.weight.flatten(1), self.bias)

    def patches(self, x_BCTHW: Tensor) -> Tensor:
        """Returns the numbers of every patch (B, L, C * patch volume)."""
        pt, ph, pw = self.patch_size
        t, h, w = x_BCTHW.shape[2:]
        x_BCTHW = F.pad(x_BCTHW, (0, -w % pw, 0, -h % ph, 0, -t % pt))
        return rearrange(x_BCTHW, "b c (t i) (h p) (w q) -> b (t h w) (c i p q)", i=pt, p=ph, q=pw)


def video_of(tokens_BLK: Tensor, *, grid: Grid, patch_size: Grid, size: Grid) -> Tensor:
    """Puts tokens of K = patch volume * C numbers, channel last, back into a video.

    Args:
        tokens_BLK: Tokens.
        grid: Tokens along time, rows and columns.
        patch_size: Of the patches.
        size: Latent size; what was filled up at the end is cut off.

    Returns:
        (B, C, T, H, W).
    """
    (t, h, w), (i, p, q) = grid, patch_size
    video_BCTHW = rearrange(
        tokens_BLK, "b (t h w) (i p q c) -> b c (t i) (h p) (w q)", t=t, h=h, w=w, i=i, p=p, q=q
    )
    return video_BCTHW[:, :, : size[0], : size[1], : size[2]]
