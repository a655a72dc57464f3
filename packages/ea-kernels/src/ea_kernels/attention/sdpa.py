"""Attention by PyTorch's fused kernel. This is the only call of it in the workspace."""

import torch.nn.functional as F
from torch import Tensor


def attention(
    q_BLHD: Tensor,
    k_BSHD: Tensor,
    v_BSHD: Tensor,
    *,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """See `ea_kernels.reference.attention.attention`."""
    out_BHLD = F.scaled_dot_product_attention(
        q_BLHD.transpose(1, 2), k_BSHD.transpose(1, 2), v_BSHD.transpose(1, 2), attn_mask=mask, scale=scale
    )
    return out_BHLD.transpose(1, 2)
