"""What the V4 family makes of timestep, sizes, text and image before its blocks.

Shapes: B batch, N second encoder's tokens, F their width, S patch tokens, Q image tokens, E their width,
D width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ea_dit.layers.embeddings import TimestepEmbed, timestep_sinusoid
from ea_dit.layers.sincos import sincos_2d
from ea_kernels import ops
from ea_kernels.nn import LayerNorm

SINUSOID = 256
SIZE_IDS = 6
_POOL_HEADS = 8


class SiluMlp(nn.Module):
    """Linear, SiLU in float32, Linear.

    Args:
        in_width: Of the input.
        hidden: In between.
        out_width: Of the result.
    """

    def __init__(self, in_width: int, hidden: int, out_width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(in_width, hidden)
        self.outer = nn.Linear(hidden, out_width)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the input's shape with the last axis of the new width."""
        hidden = self.inner(x)
        return self.outer(F.silu(hidden.float()).to(hidden.dtype))


class TextPool(nn.Module):
    """One vector per text: attention of the mean over all states, padding included.

    Args:
        length: N, as the position table has a row for each.
        text_width: F, a multiple of 8.
        out_width: Width of the result.
    """

    def __init__(self, length: int, text_width: int, out_width: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(length + 1, text_width) / text_width**0.5)
        self.query = nn.Linear(text_width, text_width)
        self.key = nn.Linear(text_width, text_width)
        self.value = nn.Linear(text_width, text_width)
        self.out = nn.Linear(text_width, out_width)

    def forward(self, states_BNF: Tensor) -> Tensor:
        """Returns (B, out_width)."""
        with_mean_BSF = torch.cat((states_BNF.mean(dim=1, keepdim=True), states_BNF), dim=1) + self.positions
        heads = (_POOL_HEADS, -1)
        pooled_B1HK = ops.attention(
            self.query(with_mean_BSF[:, :1]).unflatten(-1, heads),
            self.key(with_mean_BSF).unflatten(-1, heads),
            self.value(with_mean_BSF).unflatten(-1, heads),
        )
        return self.out(pooled_B1HK.flatten(1))


class ConditionEmbed(nn.Module):
    """The condition vector: timestep, plus pooled text, sizes and style.

    Args:
        width: D.
        text_len: N.
        text_width: F.
        pooled_width: Width of the pooled text.
    """

    def __init__(self, width: int, *, text_len: int, text_width: int, pooled_width: int) -> None:
        super().__init__()
        self.time = TimestepEmbed(SINUSOID, width)
        self.pool = TextPool(text_len, text_width, pooled_width)
        # One style exists; its vector is a learned constant.
        self.style = nn.Embedding(1, width)
        self.extra = SiluMlp(pooled_width + SIZE_IDS * SINUSOID + width, 4 * width, width)

    def forward(self, timestep_B: Tensor, states_BNF: Tensor, size_ids_B6: Tensor) -> Tensor:
        """Returns (B, D)."""
        pooled = self.pool(states_BNF)
        sizes = timestep_sinusoid(size_ids_B6.flatten(), SINUSOID).unflatten(0, (-1, SIZE_IDS)).flatten(1)
        style = self.style.weight.expand(pooled.shape[0], -1)
        extra = self.extra(torch.cat((pooled, sizes.to(pooled.dtype), style), dim=-1))
        return self.time(timestep_B) + extra


class Resampler(nn.Module):
    """Patch tokens of any square number to a fixed number of image tokens, by learned queries.

    Args:
        num_tokens: Q, a square number.
        width: E.
        patch_width: Width of the patch tokens; if it is not E there is a projection.
        num_heads: Of the attention.
    """

    positions_QE: Tensor

    def __init__(self, num_tokens: int, width: int, patch_width: int, *, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        side = math.isqrt(num_tokens)
        table = sincos_2d(width, (side, side), extent=float(side)).flatten(0, 1)
        self.register_buffer("positions_QE", table)
        self.queries_QE = nn.Parameter(torch.randn(num_tokens, width) * 0.02)
        self.patch_projection = (
            nn.Linear(patch_width, width, bias=False) if patch_width != width else nn.Identity()
        )
        self.query_norm = LayerNorm(width)
        self.patch_norm = LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, patches_BSP: Tensor) -> Tensor:
        """Returns image tokens (B, Q, E).

        Raises:
            ValueError: If the number of patch tokens is not a square number.
        """
        values_BSE = self.patch_norm(self.patch_projection(patches_BSP))
        keys_BSE = values_BSE + self._positions(patches_BSP.shape[1]).to(values_BSE.dtype)
        queries_QE = self.query_norm(self.queries_QE) + self.positions_QE.to(values_BSE.dtype)
        heads = (self.num_heads, -1)
        query_BQE = self.query(queries_QE).expand(patches_BSP.shape[0], -1, -1)
        out_BQHK = ops.attention(
            query_BQE.unflatten(-1, heads),
            self.key(keys_BSE).unflatten(-1, heads),
            self.value(values_BSE).unflatten(-1, heads),
        )
        return self.out(out_BQHK.flatten(2))

    def _positions(self, count: int) -> Tensor:
        side = math.isqrt(count)
        if side * side != count:
            raise ValueError(f"an image must have a square number of patch tokens, got {count}")
        own = math.isqrt(self.positions_QE.shape[0])
        if side == own:
            return self.positions_QE
        table_1EHW = self.positions_QE.float().T.unflatten(-1, (own, own))[None]
        resized = F.interpolate(table_1EHW, size=(side, side), mode="bicubic", align_corners=False)
        return resized[0].flatten(1).T
