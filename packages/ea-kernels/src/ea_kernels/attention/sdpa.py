"""Attention by PyTorch's fused kernels. These are the only calls of them in the workspace."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ea_kernels.attention.spec import AttentionFunction


def attention(
    q_BLHD: Tensor,
    k_BSHD: Tensor,
    v_BSHD: Tensor,
    *,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """See `ea_kernels.reference.attention.attention`; torch chooses among its kernels."""
    if _slow_backward(q_BLHD):
        with torch.autocast("cpu", enabled=False):
            out_BLHD = _fused(q_BLHD.float(), k_BSHD.float(), v_BSHD.float(), mask, scale)
        return out_BLHD.to(q_BLHD.dtype)
    return _fused(q_BLHD, k_BSHD, v_BSHD, mask, scale)


def only(backend: SDPBackend) -> AttentionFunction:
    """Attention by one of torch's kernels, an error where that cannot compute it."""
    return partial(_by_one_kernel, backend)


def _by_one_kernel(
    backend: SDPBackend,
    q_BLHD: Tensor,
    k_BSHD: Tensor,
    v_BSHD: Tensor,
    *,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    with sdpa_kernel(backend):
        return _fused(q_BLHD, k_BSHD, v_BSHD, mask, scale)


def _slow_backward(q_BLHD: Tensor) -> bool:
    """Whether training should take the float32 route.

    On CPUs without matrix units the low-precision backward takes about twice as long as the float32 one (96
    tokens, head width 64, torch 2.15: 42 against 22 ms). Measure again with a newer torch.
    """
    return q_BLHD.device.type == "cpu" and q_BLHD.dtype != torch.float32 and q_BLHD.requires_grad


def _fused(
    q_BLHD: Tensor, k_BSHD: Tensor, v_BSHD: Tensor, mask: Tensor | None, scale: float | None
) -> Tensor:
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(q_BLHD.dtype)
    if mask is not None and mask.ndim == 1:
        mask = mask.unsqueeze(0)  # the library wants two axes
    out_BHLD = F.scaled_dot_product_attention(
        q_BLHD.transpose(1, 2), k_BSHD.transpose(1, 2), v_BSHD.transpose(1, 2), attn_mask=mask, scale=scale
    )
    return out_BHLD.transpose(1, 2)
