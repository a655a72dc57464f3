"""Attention written out. Shapes: B batch, L query length, S key length, H heads, D head width."""

import torch
from torch import Tensor


def attention(
    q_BLHD: Tensor,
    k_BSHD: Tensor,
    v_BSHD: Tensor,
    *,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Computes softmax(q k^T * scale) v in float32 and casts once at the end.

    Args:
        q_BLHD: Queries.
        k_BSHD: Keys.
        v_BSHD: Values.
        mask: Boolean (True takes part) or additive, broadcastable to (B, H, L, S).
        scale: Factor on the scores, 1 / sqrt(D) when None.

    Returns:
        (B, L, H, D) in the dtype of the queries; zeros where a boolean mask leaves a query no key.
    """
    factor = q_BLHD.shape[-1] ** -0.5 if scale is None else scale
    scores_BHLS = torch.einsum("blhd,bshd->bhls", q_BLHD.float(), k_BSHD.float()) * factor
    if mask is not None:
        if mask.dtype == torch.bool:
            scores_BHLS = scores_BHLS.masked_fill(~mask, float("-inf"))
        else:
            scores_BHLS = scores_BHLS + mask.float()
    weights_BHLS = scores_BHLS.softmax(dim=-1)
    if mask is not None and mask.dtype == torch.bool:
        weights_BHLS = torch.where(mask.any(dim=-1, keepdim=True), weights_BHLS, 0.0)
    out_BLHD = torch.einsum("bhls,bshd->blhd", weights_BHLS, v_BSHD.float())
    return out_BLHD.to(q_BLHD.dtype)
