"""Flash attention, forward and backward: joint, padded, packed, windowed; head widths 16 to 128.

Shapes: B samples, L queries, S keys, H heads, D head width. Packed sequences have B = 1 in memory and lengths
from cumulative offsets. Softmax runs in powers of two on float32; a query with no key that takes part gives
zeros, and no gradient. Algorithm: Dao, FlashAttention-2, arXiv 2307.08691.
"""

# Kernel arguments have no Python type, and pyright does not know what triton.jit makes of a function.
# pyright: reportMissingParameterType=false, reportIndexIssue=false, reportCallIssue=false
# pyright: reportArgumentType=false
from dataclasses import dataclass
from itertools import pairwise

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from ea_kernels.triton_ops.availability import interpreted
from ea_kernels.triton_ops.launch import unit_last, upcasts_dots

MIN_WIDTH, MAX_WIDTH = 16, 128
LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class Blocks:
    """A launch configuration.

    Attributes:
        queries: Rows of a tile.
        keys: Columns of a tile.
        warps: Per program.
        stages: Of the software pipeline.
    """

    queries: int
    keys: int
    warps: int
    stages: int


# By padded head width: forward, backward. Not measured: starting points from the register and shared-memory
# budget of compute capability 9.0 (a 128 x 64 float32 accumulator is 64 registers a thread with four warps).
_TABLE = {
    16: (Blocks(128, 64, 4, 3), Blocks(64, 64, 4, 2)),
    32: (Blocks(128, 64, 4, 3), Blocks(64, 64, 4, 2)),
    64: (Blocks(128, 64, 4, 3), Blocks(64, 128, 8, 2)),
    128: (Blocks(128, 64, 8, 3), Blocks(64, 64, 8, 2)),
}
_WIDE = (Blocks(64, 32, 4, 2), Blocks(32, 32, 4, 1))
"""For float32 operands, which take twice the shared memory."""
_INTERPRETED = (Blocks(16, 16, 1, 1), Blocks(16, 16, 1, 1))
"""Small, so that small tests have several tiles."""


@triton.jit
def _dot(a, b, UPCAST: tl.constexpr):
    if UPCAST:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _span(cu, lengths, b, fixed, PACKED: tl.constexpr, PADDED: tl.constexpr):
    """First row and number of rows of a sequence."""
    first = (b * 0).to(tl.int64)
    count = fixed
    if PACKED:
        first = tl.load(cu + b).to(tl.int64)
        count = (tl.load(cu + b + 1).to(tl.int64) - first).to(tl.int32)
    if PADDED:
        count = tl.minimum(count, tl.load(lengths + b).to(tl.int32))
    return first, count


@triton.jit
def _scores_mask(
    rows, cols, queries, keys, mask_row, left, right, MASKED: tl.constexpr, WINDOW: tl.constexpr
):
    """Which (row, column) pairs take part."""
    part = (rows < queries)[:, None] & (cols < keys)[None, :]
    if MASKED:
        part = part & (tl.load(mask_row + cols, mask=cols < keys, other=0) != 0)[None, :]
    if WINDOW:
        apart = cols[None, :] - rows[:, None]
        part = part & (apart >= -left) & (apart <= right)
    return part


@triton.jit
def _fwd_kernel(
    q,
    k,
    v,
    out,
    lse,
    cu_q,
    cu_k,
    lengths,
    mask,
    queries,
    keys,
    heads,
    width,
    left,
    right,
    factor,
    q_b,
    q_l,
    q_h,
    k_b,
    k_l,
    k_h,
    v_b,
    v_l,
    v_h,
    o_b,
    o_l,
    o_h,
    lse_row,
    mask_b,
    PACKED: tl.constexpr,
    PADDED: tl.constexpr,
    MASKED: tl.constexpr,
    WINDOW: tl.constexpr,
    UPCAST: tl.constexpr,
    D: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
):
    head_of = tl.program_id(1)
    b, h = (head_of // heads).to(tl.int64), (head_of % heads).to(tl.int64)
    first_q, count_q = _span(cu_q, lengths, b, queries, PACKED, False)
    first_k, count_k = _span(cu_k, lengths, b, keys, PACKED, PADDED)
    start = tl.program_id(0) * M
    if start >= count_q:
        return
    rows, dims = start + tl.arange(0, M), tl.arange(0, D)
    real = dims < width
    q_rows = (first_q + rows)[:, None]
    tile_q = tl.load(
        q + b * q_b + h * q_h + q_rows * q_l + dims[None, :],
        mask=(rows < count_q)[:, None] & real[None, :], other=0.0,
    )  # fmt: skip
    top = tl.full((M,), float("-inf"), tl.float32)
    total = tl.zeros((M,), tl.float32)
    sums = tl.zeros((M, D), tl.float32)
    low, high = start * 0, count_k
    if WINDOW:
        low = tl.maximum(start - left, 0) // N * N
        high = tl.minimum(count_k, start + M + right)
    for column in range(low, high, N):
        cols = column + tl.arange(0, N)
        at = (first_k + cols)[:, None]
        there = (cols < count_k)[:, None] & real[None, :]
        tile_k = tl.load(k + b * k_b + h * k_h + at * k_l + dims[None, :], mask=there, other=0.0)
        scores = _dot(tile_q, tl.trans(tile_k), UPCAST) * factor
        part = _scores_mask(rows, cols, count_q, count_k, mask + b * mask_b, left, right, MASKED, WINDOW)
        scores = tl.where(part, scores, float("-inf"))
        new_top = tl.maximum(top, tl.max(scores, axis=1))
        base = tl.where(new_top == float("-inf"), 0.0, new_top)  # no key yet: -inf - -inf is not a number
        weights = tl.exp2(scores - base[:, None])
        shrink = tl.exp2(top - base)
        total = total * shrink + tl.sum(weights, axis=1)
        tile_v = tl.load(v + b * v_b + h * v_h + at * v_l + dims[None, :], mask=there, other=0.0)
        sums = sums * shrink[:, None] + _dot(weights.to(tile_v.dtype), tile_v, UPCAST)
        top = new_top
    empty = total == 0.0
    sums = sums / tl.where(empty, 1.0, total)[:, None]
    inside = (rows < count_q)[:, None] & real[None, :]
    tl.store(
        out + b * o_b + h * o_h + q_rows * o_l + dims[None, :], sums.to(out.dtype.element_ty), mask=inside
    )
    # Of an empty row: +inf, so that the backward's exp2(score - lse) is zero.
    norm = tl.where(empty, float("inf"), top + tl.log2(tl.where(empty, 1.0, total)))
    tl.store(lse + head_of.to(tl.int64) * lse_row + rows, norm, mask=rows < count_q)


@triton.jit
def _dq_kernel(
    q,
    k,
    v,
    d_out,
    d_q,
    lse,
    delta,
    cu_q,
    cu_k,
    lengths,
    mask,
    queries,
    keys,
    heads,
    width,
    left,
    right,
    factor,
    scale,
    q_b,
    q_l,
    q_h,
    k_b,
    k_l,
    k_h,
    v_b,
    v_l,
    v_h,
    o_b,
    o_l,
    o_h,
    d_b,
    d_l,
    d_h,
    lse_row,
    mask_b,
    PACKED: tl.constexpr,
    PADDED: tl.constexpr,
    MASKED: tl.constexpr,
    WINDOW: tl.constexpr,
    UPCAST: tl.constexpr,
    D: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
):
    head_of = tl.program_id(1)
    b, h = (head_of // heads).to(tl.int64), (head_of % heads).to(tl.int64)
    first_q, count_q = _span(cu_q, lengths, b, queries, PACKED, False)
    first_k, count_k = _span(cu_k, lengths, b, keys, PACKED, PADDED)
    start = tl.program_id(0) * M
    if start >= count_q:
        return
    rows, dims = start + tl.arange(0, M), tl.arange(0, D)
    real = dims < width
    inside = (rows < count_q)[:, None] & real[None, :]
    q_rows = (first_q + rows)[:, None]
    tile_q = tl.load(q + b * q_b + h * q_h + q_rows * q_l + dims[None, :], mask=inside, other=0.0)
    tile_d = tl.load(d_out + b * o_b + h * o_h + q_rows * o_l + dims[None, :], mask=inside, other=0.0)
    own = head_of.to(tl.int64) * lse_row + rows
    norm = tl.load(lse + own, mask=rows < count_q, other=float("inf"))
    shift = tl.load(delta + own, mask=rows < count_q, other=0.0)
    sums = tl.zeros((M, D), tl.float32)
    low, high = start * 0, count_k
    if WINDOW:
        low = tl.maximum(start - left, 0) // N * N
        high = tl.minimum(count_k, start + M + right)
    for column in range(low, high, N):
        cols = column + tl.arange(0, N)
        at = (first_k + cols)[:, None]
        there = (cols < count_k)[:, None] & real[None, :]
        tile_k = tl.load(k + b * k_b + h * k_h + at * k_l + dims[None, :], mask=there, other=0.0)
        tile_v = tl.load(v + b * v_b + h * v_h + at * v_l + dims[None, :], mask=there, other=0.0)
        part = _scores_mask(rows, cols, count_q, count_k, mask + b * mask_b, left, right, MASKED, WINDOW)
        scores = tl.where(part, _dot(tile_q, tl.trans(tile_k), UPCAST) * factor, float("-inf"))
        weights = tl.exp2(scores - norm[:, None])
        d_scores = weights * (_dot(tile_d, tl.trans(tile_v), UPCAST) - shift[:, None])
        sums += _dot(d_scores.to(tile_k.dtype), tile_k, UPCAST)
    target = d_q + b * d_b + h * d_h + q_rows * d_l + dims[None, :]
    tl.store(target, (sums * scale).to(d_q.dtype.element_ty), mask=inside)


@triton.jit
def _dkv_kernel(
    q,
    k,
    v,
    d_out,
    d_k,
    d_v,
    lse,
    delta,
    cu_q,
    cu_k,
    lengths,
    mask,
    queries,
    keys,
    heads,
    width,
    left,
    right,
    factor,
    scale,
    q_b,
    q_l,
    q_h,
    k_b,
    k_l,
    k_h,
    v_b,
    v_l,
    v_h,
    o_b,
    o_l,
    o_h,
    d_b,
    d_l,
    d_h,
    lse_row,
    mask_b,
    PACKED: tl.constexpr,
    PADDED: tl.constexpr,
    MASKED: tl.constexpr,
    WINDOW: tl.constexpr,
    UPCAST: tl.constexpr,
    D: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
):
    head_of = tl.program_id(1)
    b, h = (head_of // heads).to(tl.int64), (head_of % heads).to(tl.int64)
    first_q, count_q = _span(cu_q, lengths, b, queries, PACKED, False)
    first_k, count_k = _span(cu_k, lengths, b, keys, PACKED, PADDED)
    _, stored_k = _span(cu_k, lengths, b, keys, PACKED, False)
    start = tl.program_id(0) * N
    if start >= stored_k:
        return
    cols, dims = start + tl.arange(0, N), tl.arange(0, D)
    real = dims < width
    there = (cols < count_k)[:, None] & real[None, :]
    at = (first_k + cols)[:, None]
    tile_k = tl.load(k + b * k_b + h * k_h + at * k_l + dims[None, :], mask=there, other=0.0)
    tile_v = tl.load(v + b * v_b + h * v_h + at * v_l + dims[None, :], mask=there, other=0.0)
    sums_k = tl.zeros((N, D), tl.float32)
    sums_v = tl.zeros((N, D), tl.float32)
    low, high = start * 0, count_q
    if WINDOW:
        low = tl.maximum(start - right, 0) // M * M
        high = tl.minimum(count_q, start + N + left)
    for row in range(low, high, M):
        rows = row + tl.arange(0, M)
        inside = (rows < count_q)[:, None] & real[None, :]
        q_rows = (first_q + rows)[:, None]
        tile_q = tl.load(q + b * q_b + h * q_h + q_rows * q_l + dims[None, :], mask=inside, other=0.0)
        tile_d = tl.load(d_out + b * o_b + h * o_h + q_rows * o_l + dims[None, :], mask=inside, other=0.0)
        own = head_of.to(tl.int64) * lse_row + rows
        norm = tl.load(lse + own, mask=rows < count_q, other=float("inf"))
        shift = tl.load(delta + own, mask=rows < count_q, other=0.0)
        part = _scores_mask(rows, cols, count_q, count_k, mask + b * mask_b, left, right, MASKED, WINDOW)
        scores = tl.where(part, _dot(tile_q, tl.trans(tile_k), UPCAST) * factor, float("-inf"))
        weights = tl.exp2(scores - norm[:, None])
        sums_v += _dot(tl.trans(weights).to(tile_d.dtype), tile_d, UPCAST)
        d_scores = weights * (_dot(tile_d, tl.trans(tile_v), UPCAST) - shift[:, None])
        sums_k += _dot(tl.trans(d_scores).to(tile_q.dtype), tile_q, UPCAST)
    # Keys beyond a sequence's length take no part: their gradient is written too, as zero.
    written = (cols < stored_k)[:, None] & real[None, :]
    target = b * d_b + h * d_h + at * d_l + dims[None, :]
    tl.store(d_k + target, (sums_k * scale).to(d_k.dtype.element_ty), mask=written)
    tl.store(d_v + target, sums_v.to(d_v.dtype.element_ty), mask=written)


@dataclass(frozen=True)
class Pattern:
    """Which keys a query sees.

    Attributes:
        key_lengths: (B,) int: keys from there on are padding.
        key_mask: (B, S) bool: keys that take part, anywhere in the sequence.
        window: Query i sees keys i - left ... i + right.
        cu_queries: (B + 1,) int32 cumulative offsets of packed queries; batch axis 1 in memory.
        cu_keys: Of packed keys.
        longest: Queries and keys of the longest packed sequence.
    """

    key_lengths: Tensor | None = None
    key_mask: Tensor | None = None
    window: tuple[int, int] | None = None
    cu_queries: Tensor | None = None
    cu_keys: Tensor | None = None
    longest: tuple[int, int] | None = None


def _blocks(q: Tensor, *, backward: bool) -> tuple[Blocks, int]:
    padded = max(16, triton.next_power_of_2(q.shape[-1]))
    if interpreted():
        return _INTERPRETED[backward], padded
    return (_WIDE if q.dtype == torch.float32 else _TABLE[padded])[backward], padded


def _pattern_arguments(pattern: Pattern, like: Tensor) -> tuple[tuple, dict[str, bool]]:
    """Pointers (any valid one where a feature is off) and switches."""
    chosen = (pattern.cu_queries, pattern.cu_keys, pattern.key_lengths, pattern.key_mask)
    pointers = tuple(like if tensor is None else tensor for tensor in chosen)
    return pointers, {
        "PACKED": pattern.cu_queries is not None,
        "PADDED": pattern.key_lengths is not None,
        "MASKED": pattern.key_mask is not None,
        "WINDOW": pattern.window is not None,
    }


def _strides(pattern: Pattern, *tensors: Tensor) -> tuple[int, ...]:
    """Of batch, token and head; packed sequences lie along the token axis, so their batch stride is 0."""
    packed = pattern.cu_queries is not None
    return tuple(n for t in tensors for n in (0 if packed else t.stride(0), t.stride(1), t.stride(2)))


class _Flash(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, scale, pattern):
        q, k, v = unit_last(q), unit_last(k), unit_last(v)
        queries, keys = pattern.longest or (q.shape[1], k.shape[1])
        sequences = q.shape[0] if pattern.cu_queries is None else len(pattern.cu_queries) - 1
        heads, width = q.shape[2:]
        out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        lse = torch.empty((sequences * heads, queries), dtype=torch.float32, device=q.device)
        blocks, padded = _blocks(q, backward=False)
        pointers, switches = _pattern_arguments(pattern, q)
        left, right = pattern.window or (0, 0)
        mask_b = 0 if pattern.key_mask is None else pattern.key_mask.stride(0)
        _fwd_kernel[(triton.cdiv(queries, blocks.queries), sequences * heads)](
            q, k, v, out, lse, *pointers, queries, keys, heads, width, left, right, scale * LOG2_E,
            *_strides(pattern, q, k, v, out), lse.stride(0), mask_b,
            **switches, UPCAST=upcasts_dots(q), D=padded, M=blocks.queries, N=blocks.keys,
            num_warps=blocks.warps, num_stages=blocks.stages,
        )  # fmt: skip
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.scale, ctx.pattern, ctx.sizes = scale, pattern, (queries, keys, sequences)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        q, k, v, out, lse = ctx.saved_tensors
        pattern, (queries, keys, sequences) = ctx.pattern, ctx.sizes
        heads, width = q.shape[2:]
        d_out = d_out.contiguous()
        delta = _row_products(d_out, out, lse, pattern)
        d_q, d_k, d_v = (torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (q, k, v))
        blocks, padded = _blocks(q, backward=True)
        pointers, switches = _pattern_arguments(pattern, q)
        left, right = pattern.window or (0, 0)
        mask_b = 0 if pattern.key_mask is None else pattern.key_mask.stride(0)
        numbers = (queries, keys, heads, width, left, right, ctx.scale * LOG2_E, ctx.scale)
        strides = _strides(pattern, q, k, v, d_out)
        options = {
            **switches, "UPCAST": upcasts_dots(q), "D": padded, "M": blocks.queries, "N": blocks.keys,
            "num_warps": blocks.warps, "num_stages": blocks.stages,
        }  # fmt: skip
        _dq_kernel[(triton.cdiv(queries, blocks.queries), sequences * heads)](
            q, k, v, d_out, d_q, lse, delta, *pointers, *numbers, *strides, *_strides(pattern, d_q),
            lse.stride(0), mask_b, **options,
        )  # fmt: skip
        _dkv_kernel[(triton.cdiv(keys, blocks.keys), sequences * heads)](
            q, k, v, d_out, d_k, d_v, lse, delta, *pointers, *numbers, *strides, *_strides(pattern, d_k),
            lse.stride(0), mask_b, **options,
        )  # fmt: skip
        return d_q, d_k, d_v, None, None


def _row_products(d_out: Tensor, out: Tensor, lse: Tensor, pattern: Pattern) -> Tensor:
    """sum(d_out * out) of every query, laid out as the log-sums."""
    product_BLH = (d_out.float() * out.float()).sum(dim=-1)
    if pattern.cu_queries is None:
        return product_BLH.transpose(1, 2).reshape(lse.shape).contiguous()
    heads = out.shape[2]
    delta = torch.zeros_like(lse)
    bounds = pattern.cu_queries.tolist()
    for index, (first, last) in enumerate(pairwise(bounds)):
        delta[index * heads : (index + 1) * heads, : last - first] = product_BLH[0, first:last].T
    return delta


def attention(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None, pattern: Pattern) -> Tensor:
    """softmax(q k^T * scale) v of (B, L, H, D) over the keys that the pattern allows.

    Raises:
        ValueError: If the head width or the dtypes do not fit.
    """
    width = q.shape[-1]
    if not MIN_WIDTH <= width <= MAX_WIDTH:
        raise ValueError(f"attention 'triton' takes head widths of {MIN_WIDTH} to {MAX_WIDTH}, got {width}")
    batch, _, heads, _ = q.shape
    if k.shape != v.shape or tuple(k.shape) != (batch, k.shape[1], heads, width):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (q, k, v))
        raise ValueError(f"q, k and v must be (B, L, H, D) and twice (B, S, H, D), got {shapes}")
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"q, k and v must have one dtype, got {q.dtype}, {k.dtype} and {v.dtype}")
    return _Flash.apply(q, k, v, width**-0.5 if scale is None else scale, pattern)
