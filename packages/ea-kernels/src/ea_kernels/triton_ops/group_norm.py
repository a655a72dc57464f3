"""GroupNorm with optional SiLU of clips in channels-last memory, frame by frame or over all frames.

Shapes: B samples, C channels, N sets of P pixels that share statistics (a frame, or a sample), Q chunks of
pixels. Three passes: sums per channel and chunk, a few numbers per group (in torch: N x Q x C numbers), then
the elements. Statistics are merged means and squared distances, not E[x^2] - E[x]^2, which cancels.
"""

# Kernel arguments have no Python type, and pyright does not know what triton.jit makes of a function.
# pyright: reportMissingParameterType=false, reportIndexIssue=false, reportCallIssue=false
# pyright: reportArgumentType=false
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from ea_kernels.triton_ops.launch import chunk_rows, dense_vector

TILE = 4096
"""Elements of a tile (pixels x channels)."""


@triton.jit
def _moments_kernel(
    x,
    means,
    squares,
    pixels,
    channels,
    chunk,
    PIX: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n, q = tl.program_id(1).to(tl.int64), tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    mean = tl.zeros((BLOCK,), tl.float32)
    square = tl.zeros((BLOCK,), tl.float32)
    start = q * chunk
    last = tl.minimum(start + chunk, pixels)
    count = (start * 0).to(tl.float32)
    for step in range(0, chunk, PIX):
        row = start + step + tl.arange(0, PIX)
        inside = (row < last)[:, None] & (cols < channels)[None, :]
        value = tl.load(x + (n * pixels + row)[:, None] * channels + cols[None, :], mask=inside, other=0.0)
        value = value.to(tl.float32)
        here = tl.maximum(tl.minimum(last - start - step, PIX), 0).to(tl.float32)
        own = tl.sum(value, axis=0) / tl.maximum(here, 1.0)
        away = tl.where(inside, value - own[None, :], 0.0)
        total = tl.maximum(count + here, 1.0)
        apart = own - mean
        square += tl.sum(away * away, axis=0) + apart * apart * (count * here / total)
        mean += apart * (here / total)
        count += here
    target = (n * tl.num_programs(0) + q) * channels + cols
    tl.store(means + target, mean, mask=cols < channels)
    tl.store(squares + target, square, mask=cols < channels)


@triton.jit
def _apply_kernel(
    x,
    mean,
    factor,
    bias,
    out,
    pixels,
    channels,
    chunk,
    HAS_BIAS: tl.constexpr,
    SILU: tl.constexpr,
    PIX: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n, q = tl.program_id(1).to(tl.int64), tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    real = cols < channels
    centre = tl.load(mean + n * channels + cols, mask=real, other=0.0)[None, :]
    scale = tl.load(factor + n * channels + cols, mask=real, other=0.0)[None, :]
    offset = tl.zeros((BLOCK,), tl.float32)
    if HAS_BIAS:
        offset = tl.load(bias + cols, mask=real, other=0.0).to(tl.float32)
    last = tl.minimum((q + 1) * chunk, pixels)
    for step in range(0, chunk, PIX):
        row = q * chunk + step + tl.arange(0, PIX)
        inside = (row < last)[:, None] & real[None, :]
        at = (n * pixels + row)[:, None] * channels + cols[None, :]
        value = (tl.load(x + at, mask=inside, other=0.0).to(tl.float32) - centre) * scale + offset[None, :]
        if SILU:
            value *= tl.sigmoid(value)
        tl.store(out + at, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _bwd_kernel(
    x,
    d_out,
    mean,
    rstd,
    weight,
    bias,
    through_mean,
    through_rstd,
    sums,
    d_x,
    pixels,
    channels,
    chunk,
    plane,
    HAS_WEIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    SILU: tl.constexpr,
    SUMS: tl.constexpr,
    PIX: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n, q = tl.program_id(1).to(tl.int64), tl.program_id(0).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    real = cols < channels
    per_channel = n * channels + cols
    centre = tl.load(mean + per_channel, mask=real, other=0.0)[None, :]
    inverse = tl.load(rstd + per_channel, mask=real, other=0.0)[None, :]
    w = tl.full((BLOCK,), 1.0, tl.float32)
    offset = tl.zeros((BLOCK,), tl.float32)
    if HAS_WEIGHT:
        w = tl.load(weight + cols, mask=real, other=0.0).to(tl.float32)
    if HAS_BIAS:
        offset = tl.load(bias + cols, mask=real, other=0.0).to(tl.float32)
    plain = tl.zeros((BLOCK,), tl.float32)
    weighted = tl.zeros((BLOCK,), tl.float32)
    if not SUMS:
        plain = tl.load(through_mean + per_channel, mask=real, other=0.0)
        weighted = tl.load(through_rstd + per_channel, mask=real, other=0.0)
    last = tl.minimum((q + 1) * chunk, pixels)
    for step in range(0, chunk, PIX):
        row = q * chunk + step + tl.arange(0, PIX)
        inside = (row < last)[:, None] & real[None, :]
        at = (n * pixels + row)[:, None] * channels + cols[None, :]
        normed = (tl.load(x + at, mask=inside, other=0.0).to(tl.float32) - centre) * inverse
        dz = tl.load(d_out + at, mask=inside, other=0.0).to(tl.float32)
        if SILU:
            z = normed * w[None, :] + offset[None, :]
            gate = tl.sigmoid(z)
            dz *= gate * (1.0 + z * (1.0 - gate))
        if SUMS:
            plain += tl.sum(dz, axis=0)
            weighted += tl.sum(dz * tl.where(inside, normed, 0.0), axis=0)
        else:
            dx = (dz * w[None, :] - plain[None, :] - normed * weighted[None, :]) * inverse
            tl.store(d_x + at, dx.to(d_x.dtype.element_ty), mask=inside)
    if SUMS:
        target = sums + (n * tl.num_programs(0) + q) * channels + cols
        tl.store(target, plain, mask=real)
        tl.store(target + plane, weighted, mask=real)


def _tiling(sets: int, pixels: int, channels: int) -> tuple[int, int, dict[str, int]]:
    """Pixels per chunk, chunks per set, and the tile."""
    block = triton.next_power_of_2(channels)
    chunk, chunks = chunk_rows(pixels, sets, least=16)
    tile = max(1, min(TILE // block, triton.next_power_of_2(chunk)))
    return chunk, chunks, {"PIX": tile, "BLOCK": block}


def _group_statistics(x_NPC: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1 / standard deviation of every (set, channel)'s group, float32."""
    sets, pixels, channels = x_NPC.shape
    chunk, chunks, tile = _tiling(sets, pixels, channels)
    means, squares = torch.empty(
        (2, sets, chunks, channels), dtype=torch.float32, device=x_NPC.device
    ).unbind()
    _moments_kernel[(chunks, sets)](x_NPC, means, squares, pixels, channels, chunk, **tile)
    first = torch.arange(chunks, device=x_NPC.device) * chunk
    counts = (pixels - first).clamp(max=chunk).to(torch.float32).view(1, chunks, 1, 1)
    means, squares = (m.view(sets, chunks, groups, -1) for m in (means, squares))
    total = pixels * channels // groups
    mean = (means * counts).sum(dim=(1, 3), keepdim=True) / total
    variance = (squares + counts * (means - mean).square()).sum(dim=(1, 3)) / total
    per_channel = channels // groups
    wide = mean.view(sets, groups).repeat_interleave(per_channel, dim=1)
    return wide, torch.rsqrt(variance + eps).repeat_interleave(per_channel, dim=1)


class _GroupNormSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x_NPC, weight, bias, groups, eps, silu):
        sets, pixels, channels = x_NPC.shape
        chunk, chunks, tile = _tiling(sets, pixels, channels)
        mean, rstd = _group_statistics(x_NPC, groups, eps)
        factor = rstd if weight is None else rstd * weight.float()
        out = torch.empty_like(x_NPC)
        _apply_kernel[(chunks, sets)](
            x_NPC, mean, factor, x_NPC if bias is None else bias, out, pixels, channels, chunk,
            HAS_BIAS=bias is not None, SILU=silu, **tile,
        )  # fmt: skip
        ctx.save_for_backward(x_NPC, weight, bias, mean, rstd)
        ctx.groups, ctx.silu = groups, silu
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        x_NPC, weight, bias, mean, rstd = ctx.saved_tensors
        sets, pixels, channels = x_NPC.shape
        chunk, chunks, tile = _tiling(sets, pixels, channels)
        d_out, d_x = d_out.contiguous(), torch.empty_like(x_NPC)
        sums = torch.empty((2, sets, chunks, channels), dtype=torch.float32, device=x_NPC.device)
        options = {"HAS_WEIGHT": weight is not None, "HAS_BIAS": bias is not None, "SILU": ctx.silu, **tile}
        fixed = (mean, rstd, x_NPC if weight is None else weight, x_NPC if bias is None else bias)
        sizes = (pixels, channels, chunk, sums.stride(0))
        _bwd_kernel[(chunks, sets)](x_NPC, d_out, *fixed, mean, mean, sums, d_x, *sizes, SUMS=True, **options)
        plain, weighted = sums.sum(dim=2)
        through = (s if weight is None else s * weight.float() for s in (plain, weighted))
        in_group = pixels * channels // ctx.groups
        through_mean, through_rstd = (
            (s.view(sets, ctx.groups, -1).sum(dim=2) / in_group).repeat_interleave(
                channels // ctx.groups, dim=1
            )
            for s in through
        )
        _bwd_kernel[(chunks, sets)](
            x_NPC, d_out, *fixed, through_mean, through_rstd, sums, d_x, *sizes, SUMS=False, **options
        )
        d_weight = None if weight is None else weighted.sum(dim=0).to(weight.dtype)
        return d_x, d_weight, None if bias is None else plain.sum(dim=0).to(bias.dtype), None, None, None


def group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    *,
    eps: float,
    silu: bool,
    per_frame: bool,
) -> Tensor:
    """GroupNorm of (B, C, ...), then SiLU if asked; the result is channels-last in memory.

    Args:
        x: Clips (B, C, T, H, W), or any (B, C, ...) without `per_frame`; read as it is when channels-last.
        groups: Channel groups.
        weight: (C,) or None.
        bias: (C,) or None.
        eps: Added to the variance.
        silu: Whether x sigmoid(x) follows.
        per_frame: Statistics of each frame on its own.
    """
    weight, bias = (dense_vector(n, p, x.shape[1]) for n, p in (("weight", weight), ("bias", bias)))
    last = x.movedim(1, -1).contiguous()
    sets = x.shape[0] * (x.shape[2] if per_frame else 1)
    flat = last.view(sets, -1, x.shape[1])
    return _GroupNormSilu.apply(flat, weight, bias, groups, eps, silu).view(last.shape).movedim(-1, 1)
