"""Attention over one stream, from one stream to another, and jointly over video and text tokens.

Shapes: B batch, L (video) tokens, S context tokens, M text tokens, H heads, D width, K head width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ea_kernels import ops
from ea_kernels.nn import LayerNorm
from ea_kernels.rounding import Activations, EightBitRows, rounded_for

PADDING_BIAS = -10000.0
"""What released models add to the scores of padding; finite, so that padding alone is still attended to."""


def padding_bias(mask_BM: Tensor, *, dtype: torch.dtype) -> Tensor:
    """Turns a padding mask into an additive attention mask.

    Args:
        mask_BM: 1 where a token counts, 0 where it is padding.
        dtype: That of the queries.

    Returns:
        (B, 1, 1, M): 0 or `PADDING_BIAS`.
    """
    return ((1.0 - mask_BM.to(dtype)) * PADDING_BIAS)[:, None, None]


class Attention(nn.Module):
    """Self-attention of a stream, or cross-attention from it to a context.

    Args:
        width: D.
        num_heads: H.
        head_dim: K.
        context_width: Width of the context's tokens, None for D.
        bias: Whether the query, key and value projections have one; the output projection always has.
        norm: Makes the per-head norm of queries, and that of keys, from K; None without.
        rope_first: Turn queries and keys before their norms, not after.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        head_dim: int,
        *,
        context_width: int | None = None,
        bias: bool = True,
        norm: Callable[[int], nn.Module] | None = None,
        rope_first: bool = False,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.rope_first = rope_first
        inner, source = num_heads * head_dim, width if context_width is None else context_width
        self.query = nn.Linear(width, inner, bias=bias)
        self.key = nn.Linear(source, inner, bias=bias)
        self.value = nn.Linear(source, inner, bias=bias)
        self.query_norm = None if norm is None else norm(head_dim)
        self.key_norm = None if norm is None else norm(head_dim)
        self.out = nn.Linear(inner, width)

    def forward(
        self,
        x_BLD: Tensor,
        context_BSE: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        rope: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Attends.

        Args:
            x_BLD: Tokens that ask.
            context_BSE: Tokens that are asked, None for x itself.
            mask: As in `ea_kernels.ops.attention`.
            rope: Cosines and sines of the positions of x; they turn the queries, and the keys where x itself
                is asked.

        Returns:
            The update, same shape as x.
        """
        if context_BSE is None:
            x = source = rounded_for((self.query, self.key, self.value), x_BLD)
        else:
            x, source = x_BLD, rounded_for((self.key, self.value), context_BSE)
        q_BLHK = self.query(x).unflatten(-1, (self.num_heads, -1))
        k_BSHK = self.key(source).unflatten(-1, (self.num_heads, -1))
        v_BSHK = self.value(source).unflatten(-1, (self.num_heads, -1))
        turn_keys = rope if context_BSE is None else None
        q_BLHK = self._placed(q_BLHK, self.query_norm, rope)
        k_BSHK = self._placed(k_BSHK, self.key_norm, turn_keys)
        return self.out(ops.attention(q_BLHK, k_BSHK, v_BSHK, mask=mask).flatten(2))

    def _placed(self, x_BLHK: Tensor, norm: nn.Module | None, rope: tuple[Tensor, Tensor] | None) -> Tensor:
        """Queries or keys, normed and turned."""
        if rope is not None and self.rope_first:
            x_BLHK = ops.apply_rotary(x_BLHK, *rope)
        if norm is not None:
            x_BLHK = norm(x_BLHK)
        return ops.apply_rotary(x_BLHK, *rope) if rope is not None and not self.rope_first else x_BLHK


class AttentionStream(nn.Module):
    """Projections of one stream: query, key, value with per-head norms, and the output.

    Args:
        width: D.
        num_heads: H.
        head_dim: K.
        norm_eps: Of the query and key norms.
    """

    def __init__(self, width: int, num_heads: int, head_dim: int, *, norm_eps: float = 1e-6) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, num_heads * head_dim)
        self.key = nn.Linear(width, num_heads * head_dim)
        self.value = nn.Linear(width, num_heads * head_dim)
        self.query_norm = LayerNorm(head_dim, eps=norm_eps)
        self.key_norm = LayerNorm(head_dim, eps=norm_eps)
        self.out = nn.Linear(num_heads * head_dim, width)

    @property
    def readers(self) -> tuple[nn.Module, ...]:
        """The layers that read the tokens."""
        return self.query, self.key, self.value

    def queries(self, x_BLD: Activations) -> Tensor:
        """Returns queries (B, L, H, K), not yet normed."""
        return self.query(x_BLD).unflatten(-1, (self.num_heads, -1))

    def keys(self, x_BLD: Activations) -> Tensor:
        """Returns keys (B, L, H, K), not yet normed."""
        return self.key(x_BLD).unflatten(-1, (self.num_heads, -1))

    def values(self, x_BLD: Activations) -> Tensor:
        """Returns values (B, L, H, K)."""
        return self.value(x_BLD).unflatten(-1, (self.num_heads, -1))


class JointAttention(nn.Module):
    """One attention over [text, video]; only video queries and keys are rotated.

    Args:
        width: D.
        num_heads: H.
        head_dim: K.
        shared: Whether both streams use the same projections.
        updates_text: Whether the text result is wanted (not after the last block).
    """

    def __init__(
        self, width: int, num_heads: int, head_dim: int, *, shared: bool, updates_text: bool = True
    ) -> None:
        super().__init__()
        self.video = AttentionStream(width, num_heads, head_dim)
        self.text = None if shared else AttentionStream(width, num_heads, head_dim)
        self.updates_text = updates_text

    @property
    def readers(self) -> tuple[nn.Module, ...]:
        """The layers that read the tokens of either stream."""
        return self.video.readers if self.text is None else (*self.video.readers, *self.text.readers)

    def forward(
        self, video_BLD: Activations, text_BMD: Activations, rope: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Returns the updates of video and text (None where the text's is not wanted)."""
        of_video = self.video
        of_text = of_video if self.text is None else self.text
        num_text = text_BMD.shape[1]
        key_norms = _head_norm(of_text.key_norm), _head_norm(of_video.key_norm)
        k_BSHK = ops.join_heads(
            of_text.keys(text_BMD),
            of_video.keys(video_BLD),
            text_norm=key_norms[0],
            video_norm=key_norms[1],
            rope=rope,
        )
        v_BSHK = _joint_values(of_text, of_video, text_BMD, video_BLD)
        if not self.updates_text:
            q_BLHK = ops.norm_heads(of_video.queries(video_BLD), _head_norm(of_video.query_norm), rope)
            out_BLHK = ops.attention(q_BLHK, k_BSHK, v_BSHK)
            return of_video.out(out_BLHK.flatten(2)), None
        query_norms = _head_norm(of_text.query_norm), _head_norm(of_video.query_norm)
        q_BSHK = ops.join_heads(
            of_text.queries(text_BMD),
            of_video.queries(video_BLD),
            text_norm=query_norms[0],
            video_norm=query_norms[1],
            rope=rope,
        )
        out_BSD = ops.attention(q_BSHK, k_BSHK, v_BSHK).flatten(2)
        # The gradient of a split is one copy, that of two slices is two, a sum and zeros.
        out_BMD, out_BLD = out_BSD.split((num_text, out_BSD.shape[1] - num_text), dim=1)
        return of_video.out(out_BLD), of_text.out(out_BMD)


def _head_norm(norm: LayerNorm) -> ops.HeadNorm:
    return ops.HeadNorm(norm.weight, norm.bias, norm.eps)


def _joint_values(
    of_text: AttentionStream, of_video: AttentionStream, text_BMD: Activations, video_BLD: Activations
) -> Tensor:
    """Values of [text, video]: written by the projections into one buffer where no gradient is wanted."""
    layers = (of_text.value, of_video.value)
    plain = all(type(layer) is nn.Linear for layer in layers)  # adapted and quantised layers compute more
    if (
        isinstance(text_BMD, EightBitRows)
        or isinstance(video_BLD, EightBitRows)
        or not plain
        or not ops.writes_in_place(video_BLD)
    ):
        return torch.cat((of_text.values(text_BMD), of_video.values(video_BLD)), dim=1)
    num_text, num_video = text_BMD.shape[1], video_BLD.shape[1]
    v_BSD = video_BLD.new_empty(len(video_BLD), num_text + num_video, of_video.value.out_features)
    parts = (v_BSD[:, :num_text], v_BSD[:, num_text:])
    for layer, x, out in zip(layers, (text_BMD, video_BLD), parts, strict=True):
        ops.linear_into(x, layer.weight, layer.bias, out)
    return v_BSD.unflatten(-1, (of_video.num_heads, -1))
