"""Attention by the Triton kernel of this package, and what only it does without a mask in memory."""

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
    """See `ea_kernels.reference.attention.attention`; a mask is boolean, one for all queries and heads.

    A query that sees no key gives zeros.
    """
    from ea_kernels.triton_ops import flash

    batch, keys = k_BSHD.shape[:2]
    key_mask = None
    if mask is not None:
        key_mask = mask.reshape(-1, mask.shape[-1]).expand(batch, keys).to(torch.uint8)
        key_mask = key_mask if key_mask.stride(1) == 1 else key_mask.contiguous()
    return flash.attention(q_BLHD, k_BSHD, v_BSHD, scale=scale, pattern=flash.Pattern(key_mask=key_mask))


def windowed(
    q_BLHD: Tensor,
    k_BLHD: Tensor,
    v_BLHD: Tensor,
    *,
    window: tuple[int, int],
    scale: float | None = None,
) -> Tensor:
    """Query i sees keys i - left ... i + right, without a mask in memory."""
    from ea_kernels.triton_ops import flash

    return flash.attention(q_BLHD, k_BLHD, v_BLHD, scale=scale, pattern=flash.Pattern(window=window))


def packed(
    q_1LHD: Tensor,
    k_1SHD: Tensor,
    v_1SHD: Tensor,
    *,
    query_lengths: list[int],
    key_lengths: list[int],
    scale: float | None = None,
) -> Tensor:
    """Sequences of different lengths one after the other, each attending to its own keys only."""
    from ea_kernels.triton_ops import flash

    pattern = flash.Pattern(
        cu_queries=_offsets(query_lengths, q_1LHD.device),
        cu_keys=_offsets(key_lengths, q_1LHD.device),
        longest=(max(query_lengths, default=0), max(key_lengths, default=0)),
    )
    return flash.attention(q_1LHD, k_1SHD, v_1SHD, scale=scale, pattern=pattern)


def _offsets(lengths: list[int], device: torch.device) -> Tensor:
    sums = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return sums.to(device)
