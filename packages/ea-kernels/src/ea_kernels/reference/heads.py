"""Per-head norm, rotation and joining of streams written out.

B batch, M text tokens, L video tokens, H heads, K head width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ea_kernels.reference.norms import layer_norm, rms_norm
from ea_kernels.reference.rotary import apply_rotary


@dataclass(frozen=True)
class HeadNorm:
    """The norm of every head of queries or keys.

    Attributes:
        weight: (K,) or None.
        bias: (K,) or None; only of a LayerNorm.
        eps: Added to the variance or mean square.
        rms: An RMSNorm instead of a LayerNorm.
    """

    weight: Tensor | None
    bias: Tensor | None
    eps: float
    rms: bool = False


def norm_heads(x_BLHK: Tensor, norm: HeadNorm | None, rope: tuple[Tensor, Tensor] | None) -> Tensor:
    """Norms, then rotates, in float32 with one cast at the end."""
    out = x_BLHK.float()
    if norm is not None:
        weight = None if norm.weight is None else norm.weight.float()
        bias = None if norm.bias is None else norm.bias.float()
        out = rms_norm(out, weight, norm.eps) if norm.rms else layer_norm(out, weight, bias, norm.eps)
    return (out if rope is None else apply_rotary(out, *rope)).to(x_BLHK.dtype)


def join_heads(
    text_BMHK: Tensor,
    video_BLHK: Tensor,
    text_norm: HeadNorm | None,
    video_norm: HeadNorm | None,
    rope: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """[text | video], both normed, the video rotated."""
    return torch.cat(
        (norm_heads(text_BMHK, text_norm, None), norm_heads(video_BLHK, video_norm, rope)), dim=1
    )
