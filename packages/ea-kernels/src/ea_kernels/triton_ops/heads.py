"""Per-head norm and rotation of queries or keys, written into a joint [text | video] buffer in one pass.

Shapes: B samples, L tokens of a stream, H heads, K head width, P = K / 2 pairs. A tile is ROWS pairs (token,
head) of one sample; rows are numbered token-major, as projections leave them.
"""

# Kernel arguments have no Python type, and pyright does not know what triton.jit makes of a function.
# pyright: reportMissingParameterType=false, reportIndexIssue=false, reportCallIssue=false
# pyright: reportArgumentType=false
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from ea_kernels.triton_ops.launch import dense_vector, unit_last

LAYER, RMS, NONE = 2, 1, 0
"""Kinds of norm, as the kernels are told."""
TILE = 2048
"""Elements of a tile: 32 rows of heads of 64."""
BACKWARD_PROGRAMS = 512


@triton.jit
def _turn(value, cos, sin, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Rotates pairs (2p, 2p + 1) of (ROWS, BLOCK) by (ROWS, BLOCK / 2) angles."""
    even, odd = tl.split(tl.reshape(value, (ROWS, BLOCK // 2, 2)))
    return tl.reshape(tl.join(even * cos - odd * sin, even * sin + odd * cos), (ROWS, BLOCK))


@triton.jit
def _fwd_kernel(
    x,
    weight,
    bias,
    cos,
    sin,
    out,
    rows,
    heads,
    width,
    x_b,
    x_l,
    x_h,
    out_b,
    out_l,
    out_h,
    table_l,
    eps,
    NORM: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    TURNED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    b = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, BLOCK)
    token, head = row // heads, row % heads
    inside = (row < rows)[:, None] & (cols < width)[None, :]
    source = x + b * x_b + (token * x_l + head * x_h)[:, None] + cols[None, :]
    value = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    if NORM == 2:
        value = tl.where(inside, value - (tl.sum(value, axis=1) / width)[:, None], 0.0)
    if NORM > 0:
        value *= (1.0 / tl.sqrt(tl.sum(value * value, axis=1) / width + eps))[:, None]
    if HAS_WEIGHT:
        value *= tl.load(weight + cols, mask=cols < width, other=0.0).to(tl.float32)[None, :]
    if HAS_BIAS:
        value += tl.load(bias + cols, mask=cols < width, other=0.0).to(tl.float32)[None, :]
    if TURNED:
        pairs = tl.arange(0, BLOCK // 2)
        there = (row < rows)[:, None] & (pairs < width // 2)[None, :]
        angle = token[:, None] * table_l + pairs[None, :]
        value = _turn(
            value, tl.load(cos + angle, mask=there, other=1.0), tl.load(sin + angle, mask=there, other=0.0),
            ROWS, BLOCK,
        )  # fmt: skip
    target = out + b * out_b + (token * out_l + head * out_h)[:, None] + cols[None, :]
    tl.store(target, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _bwd_kernel(
    d_out,
    x,
    weight,
    cos,
    sin,
    d_x,
    sums,
    rows,
    heads,
    width,
    tiles,
    step,
    x_b,
    x_l,
    x_h,
    out_b,
    out_l,
    out_h,
    table_l,
    plane,
    eps,
    NORM: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    TURNED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    b = tl.program_id(1).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    pairs = tl.arange(0, BLOCK // 2)
    w = tl.full((BLOCK,), 1.0, tl.float32)
    if HAS_WEIGHT:
        w = tl.load(weight + cols, mask=cols < width, other=0.0).to(tl.float32)
    d_weight = tl.zeros((BLOCK,), tl.float32)
    d_bias = tl.zeros((BLOCK,), tl.float32)
    for tile in range(tl.program_id(0), tiles, step):
        row = tl.arange(0, ROWS).to(tl.int64) + tile * ROWS
        token, head = row // heads, row % heads
        inside = (row < rows)[:, None] & (cols < width)[None, :]
        dy = tl.load(
            d_out + b * out_b + (token * out_l + head * out_h)[:, None] + cols[None, :],
            mask=inside,
            other=0.0,
        ).to(tl.float32)
        if TURNED:
            there = (row < rows)[:, None] & (pairs < width // 2)[None, :]
            angle = token[:, None] * table_l + pairs[None, :]
            dy = _turn(
                dy, tl.load(cos + angle, mask=there, other=1.0), -tl.load(sin + angle, mask=there, other=0.0),
                ROWS, BLOCK,
            )  # fmt: skip
        if NORM > 0:
            value = tl.load(
                x + b * x_b + (token * x_l + head * x_h)[:, None] + cols[None, :], mask=inside, other=0.0
            ).to(tl.float32)
            if NORM == 2:
                value = tl.where(inside, value - (tl.sum(value, axis=1) / width)[:, None], 0.0)
            inverse = (1.0 / tl.sqrt(tl.sum(value * value, axis=1) / width + eps))[:, None]
            value *= inverse
            d_weight += tl.sum(dy * value, axis=0)
            d_bias += tl.sum(dy, axis=0)
            dy *= w[None, :]
            projected = dy - value * (tl.sum(dy * value, axis=1) / width)[:, None]
            if NORM == 2:
                projected -= (tl.sum(dy, axis=1) / width)[:, None]
            dy = projected * inverse
        target = d_x + (b * rows + row)[:, None] * width + cols[None, :]
        tl.store(target, dy.to(d_x.dtype.element_ty), mask=inside)
    target = sums + (b * tl.num_programs(0) + tl.program_id(0)) * width + cols
    if HAS_WEIGHT:
        tl.store(target, d_weight, mask=cols < width)
    if HAS_BIAS:
        tl.store(target + plane, d_bias, mask=cols < width)


def _tile(width: int) -> tuple[int, int]:
    block = max(2, triton.next_power_of_2(width))
    return max(1, TILE // block), block


def write_heads(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    rope: tuple[Tensor, Tensor] | None,
    out: Tensor,
    *,
    norm: int,
    eps: float,
) -> None:
    """Writes the normed and turned (B, L, H, K) of one stream into `out`, a (B, L, H, K) view of a buffer."""
    batch, tokens, heads, width = x.shape
    rows_tile, block = _tile(width)
    cos, sin = (x, x) if rope is None else rope
    rows = tokens * heads
    _fwd_kernel[(triton.cdiv(rows, rows_tile), batch)](
        x, x if weight is None else weight, x if bias is None else bias, cos, sin, out, rows, heads, width,
        *x.stride()[:3], *out.stride()[:3], 0 if rope is None else cos.stride(0), eps, NORM=norm,
        HAS_WEIGHT=weight is not None, HAS_BIAS=bias is not None, TURNED=rope is not None, ROWS=rows_tile,
        BLOCK=block,
    )  # fmt: skip


def _heads_backward(
    d_out: Tensor,
    x: Tensor,
    weight: Tensor | None,
    has_bias: bool,  # noqa: FBT001
    rope: tuple[Tensor, Tensor] | None,
    norm: int,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Gradients of x, and of (weight, bias) stacked."""
    batch, tokens, heads, width = x.shape
    rows_tile, block = _tile(width)
    rows = tokens * heads
    tiles = triton.cdiv(rows, rows_tile)
    programs = max(1, min(tiles, BACKWARD_PROGRAMS // max(1, batch)))
    d_x = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    sums = torch.zeros((2, batch, programs, width), dtype=torch.float32, device=x.device)
    cos, sin = (x, x) if rope is None else rope
    _bwd_kernel[(programs, batch)](
        d_out, x, x if weight is None else weight, cos, sin, d_x, sums, rows, heads, width, tiles, programs,
        *x.stride()[:3], *d_out.stride()[:3], 0 if rope is None else cos.stride(0), sums.stride(0), eps,
        NORM=norm, HAS_WEIGHT=weight is not None, HAS_BIAS=has_bias, TURNED=rope is not None, ROWS=rows_tile,
        BLOCK=block,
    )  # fmt: skip
    return d_x, sums.sum(dim=(1, 2))


class _JoinHeads(torch.autograd.Function):
    """Both streams into one new buffer; the buffer never exists in pieces."""

    @staticmethod
    def forward(
        ctx, text, video, text_weight, text_bias, video_weight, video_bias, cos, sin, norm, text_eps, eps
    ):
        batch, length, heads, width = video.shape
        prefix = text.shape[1]
        out = torch.empty((batch, prefix + length, heads, width), dtype=video.dtype, device=video.device)
        text, video = unit_last(text), unit_last(video)
        rope = None if cos is None else (cos, sin)
        write_heads(text, text_weight, text_bias, None, out[:, :prefix], norm=norm, eps=text_eps)
        write_heads(video, video_weight, video_bias, rope, out[:, prefix:], norm=norm, eps=eps)
        ctx.save_for_backward(
            text, video, text_weight, text_bias, video_weight, video_bias, *(rope or (None, None))
        )
        ctx.norm, ctx.eps = norm, (text_eps, eps)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        text, video, text_weight, text_bias, video_weight, video_bias, cos, sin = ctx.saved_tensors
        d_out = unit_last(d_out)
        prefix = text.shape[1]
        rope = None if cos is None else (cos, sin)
        d_text, of_text = _heads_backward(
            d_out[:, :prefix], text, text_weight, text_bias is not None, None, ctx.norm, ctx.eps[0]
        )
        d_video, of_video = _heads_backward(
            d_out[:, prefix:], video, video_weight, video_bias is not None, rope, ctx.norm, ctx.eps[1]
        )
        sums = (of_text[0], of_text[1], of_video[0], of_video[1])
        given = (text_weight, text_bias, video_weight, video_bias)
        d_norms = (None if p is None else s.to(p.dtype) for p, s in zip(given, sums))
        return d_text, d_video, *d_norms, None, None, None, None, None


class _Heads(torch.autograd.Function):
    """One stream on its own."""

    @staticmethod
    def forward(ctx, x, weight, bias, cos, sin, norm, eps):
        x = unit_last(x)
        rope = None if cos is None else (cos, sin)
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        write_heads(x, weight, bias, rope, out, norm=norm, eps=eps)
        ctx.save_for_backward(x, weight, bias, *(rope or (None, None)))
        ctx.norm, ctx.eps = norm, eps
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        x, weight, bias, cos, sin = ctx.saved_tensors
        rope = None if cos is None else (cos, sin)
        d_x, sums = _heads_backward(unit_last(d_out), x, weight, bias is not None, rope, ctx.norm, ctx.eps)
        d_weight = None if weight is None else sums[0].to(weight.dtype)
        return d_x, d_weight, None if bias is None else sums[1].to(bias.dtype), None, None, None, None


def heads(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    rope: tuple[Tensor, Tensor] | None,
    *,
    norm: int,
    eps: float,
) -> Tensor:
    """Norm (`LAYER`, `RMS`, `NONE`) and rotation of (B, L, H, K), one pass."""
    weight, bias = _affine((weight, bias), x)
    return _Heads.apply(x, weight, bias, *_tables(rope, x), norm, eps)


def join_heads(
    text: Tensor,
    video: Tensor,
    text_affine: tuple[Tensor | None, Tensor | None],
    video_affine: tuple[Tensor | None, Tensor | None],
    rope: tuple[Tensor, Tensor] | None,
    *,
    norm: int,
    eps: tuple[float, float],
) -> Tensor:
    """[text | video] of (B, M, H, K) and (B, L, H, K): both normed, the video turned."""
    if text.shape[0] != video.shape[0] or text.shape[2:] != video.shape[2:]:
        raise ValueError(
            f"text and video must differ in tokens only, got {tuple(text.shape)} and {tuple(video.shape)}"
        )
    affine = (*_affine(text_affine, video), *_affine(video_affine, video))
    return _JoinHeads.apply(text, video, *affine, *_tables(rope, video), norm, *eps)


Pair = tuple[Tensor | None, Tensor | None]


def _affine(affine: Pair, x_BLHK: Tensor) -> Pair:
    """Weight and bias of a norm over K."""
    weight, bias = affine
    width = x_BLHK.shape[-1]
    return dense_vector("weight", weight, width), dense_vector("bias", bias, width)


def _tables(rope: tuple[Tensor, Tensor] | None, x_BLHK: Tensor) -> Pair:
    """Cosines and sines with a row of K / 2 angles for every token, and the same strides."""
    if rope is None:
        return None, None
    tokens, width = x_BLHK.shape[1], x_BLHK.shape[3]
    for table in rope:
        if tuple(table.shape) not in ((tokens, width // 2), (1, width // 2)) or width % 2:
            raise ValueError(
                f"rope must be two tables ({tokens}, {width / 2:g}) for heads of {width}, got one of "
                f"{tuple(table.shape)}"
            )
    cos, sin = (table.expand(tokens, -1).contiguous() for table in rope)
    return cos, sin
