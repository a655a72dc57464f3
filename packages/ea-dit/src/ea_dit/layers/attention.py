"""Joint attention over video and text tokens.

Shapes: B batch, L video tokens, M text tokens, H heads, D width, K head width.
"""

import torch
from torch import Tensor, nn

from ea_kernels import ops
from ea_kernels.nn import LayerNorm


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

    def queries(self, x_BLD: Tensor) -> Tensor:
        """Returns normalised queries (B, L, H, K)."""
        return self.query_norm(self.query(x_BLD).unflatten(-1, (self.num_heads, -1)))

    def keys(self, x_BLD: Tensor) -> Tensor:
        """Returns normalised keys (B, L, H, K)."""
        return self.key_norm(self.key(x_BLD).unflatten(-1, (self.num_heads, -1)))

    def values(self, x_BLD: Tensor) -> Tensor:
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

    def forward(
        self, video_BLD: Tensor, text_BMD: Tensor, rope: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Returns the updates of video and text (None where the text's is not wanted)."""
        of_video = self.video
        of_text = of_video if self.text is None else self.text
        num_text = text_BMD.shape[1]
        q_BLHK = ops.apply_rotary(of_video.queries(video_BLD), *rope)
        k_BLHK = ops.apply_rotary(of_video.keys(video_BLD), *rope)
        k_BSHK = torch.cat((of_text.keys(text_BMD), k_BLHK), dim=1)
        v_BSHK = torch.cat((of_text.values(text_BMD), of_video.values(video_BLD)), dim=1)
        if not self.updates_text:
            out_BLHK = ops.attention(q_BLHK, k_BSHK, v_BSHK)
            return of_video.out(out_BLHK.flatten(2)), None
        q_BSHK = torch.cat((of_text.queries(text_BMD), q_BLHK), dim=1)
        out_BSD = ops.attention(q_BSHK, k_BSHK, v_BSHK).flatten(2)
        return of_video.out(out_BSD[:, num_text:]), of_text.out(out_BSD[:, :num_text])
