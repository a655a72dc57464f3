"""Sliding windows and packed sequences: the Triton kernel where it runs, else masks and loops."""

import torch
from torch import Tensor

from ea_kernels.attention.fused import packed, windowed
from ea_kernels.attention.select import choose, resolve_attention, shape_of
from ea_kernels.triton_ops.measured import faster


def window_mask(queries: int, keys: int, window: tuple[int, int], device: torch.device) -> Tensor:
    """(L, S) boolean: query i sees keys i - left ... i + right.

    Raises:
        ValueError: For a negative side.
    """
    left, right = window
    if left < 0 or right < 0:
        raise ValueError(f"window must be (left, right), both at least 0, got {window}")
    apart = torch.arange(keys, device=device) - torch.arange(queries, device=device)[:, None]
    return (apart >= -left) & (apart <= right)


def window_attention(
    q_BLHD: Tensor,
    k_BLHD: Tensor,
    v_BLHD: Tensor,
    *,
    window: tuple[int, int],
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """Attention in a sliding window of tokens.

    Args:
        q_BLHD: Queries.
        k_BLHD: Keys, as many.
        v_BLHD: Values.
        window: Query i sees keys i - left ... i + right.
        scale: Factor on the scores, 1 / sqrt(D) when None.
        backend: As for `attention`.

    Raises:
        ValueError: For a negative side, or if queries and keys differ in number.
    """
    if q_BLHD.shape[1] != k_BLHD.shape[1]:
        raise ValueError(
            f"a window needs as many keys as queries, got {k_BLHD.shape[1]} and {q_BLHD.shape[1]}"
        )
    if min(window) < 0:
        raise ValueError(f"window must be (left, right), both at least 0, got {window}")
    if _by_kernel(backend, q_BLHD, "window_attention"):
        return windowed(q_BLHD, k_BLHD, v_BLHD, window=window, scale=scale)
    tokens = q_BLHD.shape[1]
    mask = window_mask(tokens, tokens, window, q_BLHD.device)
    return resolve_attention(backend)(q_BLHD, k_BLHD, v_BLHD, mask=mask, scale=scale)


def packed_attention(
    q_1LHD: Tensor,
    k_1SHD: Tensor,
    v_1SHD: Tensor,
    *,
    query_lengths: list[int],
    key_lengths: list[int],
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """Attention of sequences that lie one after the other, each to its own keys only.

    Args:
        q_1LHD: Queries of all sequences.
        k_1SHD: Keys of all sequences.
        v_1SHD: Values.
        query_lengths: Queries of each sequence; their sum is L.
        key_lengths: Keys of each sequence, at least one where there are queries; their sum is S.
        scale: Factor on the scores, 1 / sqrt(D) when None.
        backend: As for `attention`.

    Raises:
        ValueError: If the lengths do not fit the tensors.
    """
    for name, lengths, tensor in (("query", query_lengths, q_1LHD), ("key", key_lengths, k_1SHD)):
        if tensor.shape[0] != 1 or sum(lengths) != tensor.shape[1] or min(lengths, default=0) < 0:
            raise ValueError(
                f"{name}_lengths must add up to the tokens of a batch of one, got {lengths} for "
                f"{tuple(tensor.shape)}"
            )
    if len(query_lengths) != len(key_lengths):
        raise ValueError(
            f"{len(query_lengths)} query_lengths and {len(key_lengths)} key_lengths: not the same"
        )
    if any(q and not k for q, k in zip(query_lengths, key_lengths, strict=True)):
        raise ValueError(f"a sequence with queries needs keys, got key_lengths {key_lengths}")
    if _by_kernel(backend, q_1LHD, "packed_attention"):
        lengths = {"query_lengths": query_lengths, "key_lengths": key_lengths}
        return packed(q_1LHD, k_1SHD, v_1SHD, **lengths, scale=scale)
    attend = resolve_attention(backend)
    parts = zip(
        q_1LHD.split(query_lengths, 1),
        k_1SHD.split(key_lengths, 1),
        v_1SHD.split(key_lengths, 1),
        strict=True,
    )
    outs = [attend(q, k, v, scale=scale) if q.shape[1] else q for q, k, v in parts]
    return torch.cat(outs, dim=1) if outs else q_1LHD


def _by_kernel(backend: str, q: Tensor, kernel: str) -> bool:
    """Whether the kernel that needs no mask computes it: asked for, or measured to be faster than masks."""
    shape = shape_of(q, None)
    if backend == "auto" and q.is_cuda and faster(kernel, shape.capability, q.dtype) is not None:
        return choose(shape, "triton", strict=False).name == "triton"
    return choose(shape, backend).name == "triton"
