"""Rows in eight bits, also straight from a modulated LayerNorm, and the product of such rows and weights.

Shapes: M rows, D width, N outputs, G groups of L / G consecutive tokens that share a modulation. There are no
gradients: rounding has none.
"""

# Kernel arguments have no Python type, and pyright does not know what triton.jit makes of a function.
# pyright: reportMissingParameterType=false, reportIndexIssue=false, reportCallIssue=false
# pyright: reportArgumentType=false
import torch
import triton
import triton.language as tl
from torch import Tensor

from ea_kernels.runtime.eight_bits import LARGEST
from ea_kernels.triton_ops.availability import interpreted
from ea_kernels.triton_ops.launch import dense_vector, row_config, unit_last


@triton.jit
def _nearest_integer(x):
    """Round half to even, of |x| < 2^22."""
    return (x + 12582912.0) - 12582912.0


@triton.jit
def _nearest_e4m3(x):
    """The number of float8_e4m3fn next to x, still in float32: exact to cast whatever the cast does."""
    bits = x.to(tl.int32, bitcast=True)
    bits = (bits + 0x7FFFF + ((bits >> 20) & 1)) & -0x100000
    # Below 2^-6 numbers are 2^-9 apart, as those of float32 are from 2^14 on.
    return tl.where(tl.abs(x) < 0.015625, (x + 24576.0) - 24576.0, bits.to(tl.float32, bitcast=True))


@triton.jit
def _rows_kernel(
    x,
    scale,
    shift,
    weight,
    bias,
    eight,
    row_scale,
    tokens,
    group_tokens,
    width,
    x_b,
    x_l,
    s_b,
    s_g,
    h_b,
    h_g,
    eps,
    largest,
    NORM: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    INTEGER: tl.constexpr,
    EXACT_CAST: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    b, token = row // tokens, row % tokens
    cols = tl.arange(0, BLOCK)
    inside = cols < width
    y = tl.load(x + b * x_b + token * x_l + cols, mask=inside, other=0.0).to(tl.float32)
    if NORM:
        g = token // group_tokens
        centred = tl.where(inside, y - tl.sum(y, axis=0) / width, 0.0)
        y = centred * (1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / width + eps))
        if HAS_WEIGHT:
            y *= tl.load(weight + cols, mask=inside, other=0.0).to(tl.float32)
        if HAS_BIAS:
            y += tl.load(bias + cols, mask=inside, other=0.0).to(tl.float32)
        y *= 1.0 + tl.load(scale + b * s_b + g * s_g + cols, mask=inside, other=0.0).to(tl.float32)
        y += tl.load(shift + b * h_b + g * h_g + cols, mask=inside, other=0.0).to(tl.float32)
    # A maximum may pass over NaN, which is not below anything.
    wrong = tl.max(tl.where(tl.abs(y) <= 3.4028234663852886e38, 0.0, 1.0), axis=0) == 1.0
    y = tl.where(wrong, 0.0, y)
    factor = tl.maximum(tl.div_rn(tl.max(tl.abs(y), axis=0), largest), 1.1754943508222875e-38)
    y = tl.div_rn(y, tl.zeros((BLOCK,), tl.float32) + factor)
    if INTEGER:
        y = _nearest_integer(y)
    elif EXACT_CAST:
        y = _nearest_e4m3(y)
    tl.store(eight + row * width + cols, y.to(eight.dtype.element_ty), mask=inside)
    tl.store(row_scale + row, tl.where(wrong, float("nan"), factor))


@triton.jit
def _product_kernel(
    x,
    x_scale,
    weight,
    weight_scale,
    bias,
    out,
    rows,
    outputs,
    width,
    HAS_BIAS: tl.constexpr,
    INTEGER: tl.constexpr,
    UPCAST: tl.constexpr,
    TILE_M: tl.constexpr,
    TILE_N: tl.constexpr,
    TILE_K: tl.constexpr,
    BAND: tl.constexpr,
):
    # Programs walk down a band of BAND row tiles before the next column tile: their operands stay in the L2.
    across, program = tl.cdiv(outputs, TILE_N), tl.program_id(0)
    band = program // (BAND * across)
    height = tl.minimum(tl.cdiv(rows, TILE_M) - band * BAND, BAND)
    within = program % (BAND * across)
    m = ((band * BAND + within % height) * TILE_M + tl.arange(0, TILE_M)).to(tl.int64)
    n = ((within // height) * TILE_N + tl.arange(0, TILE_N)).to(tl.int64)
    k = tl.arange(0, TILE_K)
    total = tl.zeros((TILE_M, TILE_N), tl.int32 if INTEGER else tl.float32)
    for start in range(0, width, TILE_K):
        deep = start + k < width
        a = tl.load(
            x + m[:, None] * width + start + k[None, :], mask=(m < rows)[:, None] & deep[None, :], other=0.0
        )
        b = tl.load(
            weight + n[None, :] * width + start + k[:, None],
            mask=(n < outputs)[None, :] & deep[:, None],
            other=0.0,
        )
        if UPCAST:
            a, b = a.to(tl.float32), b.to(tl.float32)
        total = tl.dot(a, b, total, out_dtype=tl.int32 if INTEGER else tl.float32)
    result = total.to(tl.float32) * tl.load(x_scale + m, mask=m < rows, other=0.0)[:, None]
    result *= tl.load(weight_scale + n, mask=n < outputs, other=0.0)[None, :]
    if HAS_BIAS:
        result += tl.load(bias + n, mask=n < outputs, other=0.0).to(tl.float32)[None, :]
    target = out + m[:, None] * outputs + n[None, :]
    tl.store(target, result.to(out.dtype.element_ty), mask=(m < rows)[:, None] & (n < outputs)[None, :])


def quantise_rows(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x (..., D) as eight bits and float32 scales (..., 1)."""
    flat_1MD = unit_last(x.reshape(1, -1, x.shape[-1]))
    eight, scale = _run_rows(flat_1MD, None, (None, None), 0.0, dtype)
    return eight.view(x.shape), scale.view(*x.shape[:-1], 1)


def modulated_norm_rows(
    x_BLD: Tensor,
    modulation: tuple[Tensor, Tensor],
    affine: tuple[Tensor | None, Tensor | None],
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """The same of LayerNorm and modulation; scale and shift are (B, G, D) or (B, D), one per sample."""
    scale, shift = (unit_last(m.unsqueeze(1) if m.ndim == 2 else m) for m in modulation)
    return _run_rows(unit_last(x_BLD), (scale, shift), affine, eps, dtype)


def _run_rows(
    x_BLD: Tensor,
    modulation: tuple[Tensor, Tensor] | None,
    affine: tuple[Tensor | None, Tensor | None],
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    batch, tokens, width = x_BLD.shape
    block, warps = row_config(width)
    eight = torch.empty(x_BLD.shape, dtype=dtype, device=x_BLD.device)
    row_scale = torch.empty((batch, tokens, 1), dtype=torch.float32, device=x_BLD.device)
    scale, shift = (x_BLD, x_BLD) if modulation is None else modulation
    groups = 1 if modulation is None else scale.shape[1]
    weight, bias = (dense_vector(n, p, width) for n, p in zip(("weight", "bias"), affine, strict=True))
    _rows_kernel[(batch * tokens,)](
        x_BLD, scale, shift, x_BLD if weight is None else weight, x_BLD if bias is None else bias, eight,
        row_scale, tokens, tokens // max(1, groups), width, x_BLD.stride(0), x_BLD.stride(1), scale.stride(0),
        scale.stride(1), shift.stride(0), shift.stride(1), eps, LARGEST[dtype],
        NORM=modulation is not None, HAS_WEIGHT=weight is not None, HAS_BIAS=bias is not None,
        INTEGER=dtype == torch.int8, EXACT_CAST=interpreted(), BLOCK=block, num_warps=warps,
    )  # fmt: skip
    return eight, row_scale


def scaled_linear(
    x8_MI: Tensor,
    x_scale_M1: Tensor,
    weight8_OI: Tensor,
    weight_scale_O1: Tensor,
    bias_O: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """(M, O) in a working dtype."""
    rows, width = x8_MI.shape
    outputs, integer = len(weight8_OI), x8_MI.dtype == torch.int8
    bias_O = dense_vector("bias_O", bias_O, outputs)
    tile_m, tile_n, tile_k = (16, 16, 32) if rows * outputs <= 4096 else (128, 128, 128)
    out = torch.empty((rows, outputs), dtype=dtype, device=x8_MI.device)
    grid = (triton.cdiv(rows, tile_m) * triton.cdiv(outputs, tile_n),)
    _product_kernel[grid](
        x8_MI.contiguous(), x_scale_M1.contiguous(), weight8_OI.contiguous(), weight_scale_O1.contiguous(),
        x_scale_M1 if bias_O is None else bias_O, out, rows, outputs, width,
        HAS_BIAS=bias_O is not None, INTEGER=integer, UPCAST=interpreted() and not integer,
        TILE_M=tile_m, TILE_N=tile_n, TILE_K=tile_k, BAND=8, num_warps=4 if tile_m == 16 else 8,
        num_stages=3,
    )  # fmt: skip
    return out
