"""Bias + GELU and GEGLU with their gradients: element by element, flat over rows.

Width D; GEGLU reads rows of 2 D, values then gates.
"""

# Kernel arguments have no Python type, and pyright does not know what triton.jit makes of a function.
# pyright: reportMissingParameterType=false, reportIndexIssue=false, reportCallIssue=false
# pyright: reportArgumentType=false
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from ea_kernels.triton_ops.launch import dense_vector

BLOCK = 1024


@triton.jit
def _gelu(x, TANH: tl.constexpr):
    """GELU of float32 and its derivative."""
    if TANH:
        inner = 0.7978845608028654 * (x + 0.044715 * x * x * x)
        # tanh(a) = 2 sigmoid(2 a) - 1: no library call; clamped where it is 1, before it overflows.
        tanh = 2.0 * tl.sigmoid(tl.minimum(tl.maximum(2.0 * inner, -80.0), 80.0)) - 1.0
        slope = 0.7978845608028654 * (1.0 + 0.134145 * tl.minimum(x * x, 1e30))  # zero times it is not NaN
        return 0.5 * x * (1.0 + tanh), 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * slope
    half = 0.5 * (1.0 + tl.erf(x * 0.7071067811865476))
    return x * half, half + x * 0.3989422804014327 * tl.exp(-0.5 * x * x)


@triton.jit
def _bias_gelu_kernel(
    x,
    bias,
    d_out,
    out,
    width,
    x_row,
    HAS_BIAS: tl.constexpr,
    TANH: tl.constexpr,
    BACKWARD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = cols < width
    value = tl.load(x + row * x_row + cols, mask=inside, other=0.0).to(tl.float32)
    if HAS_BIAS:
        value += tl.load(bias + cols, mask=inside, other=0.0).to(tl.float32)
    result, slope = _gelu(value, TANH)
    if BACKWARD:
        result = slope * tl.load(d_out + row * width + cols, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * width + cols, result.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _geglu_kernel(x, d_out, out, width, x_row, BACKWARD: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = cols < width
    value = tl.load(x + row * x_row + cols, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(x + row * x_row + width + cols, mask=inside, other=0.0).to(tl.float32)
    activated, slope = _gelu(gate, False)
    if BACKWARD:
        d = tl.load(d_out + row * width + cols, mask=inside, other=0.0).to(tl.float32)
        target = out + row * 2 * width + cols
        tl.store(target, (d * activated).to(out.dtype.element_ty), mask=inside)
        tl.store(target + width, (d * value * slope).to(out.dtype.element_ty), mask=inside)
    else:
        tl.store(out + row * width + cols, (value * activated).to(out.dtype.element_ty), mask=inside)


def _rows(x: Tensor) -> Tensor:
    """(rows, width) with dense rows; a view wherever x allows one."""
    flat = x.reshape(-1, x.shape[-1] if x.ndim else 1)
    return flat if flat.stride(1) == 1 else flat.contiguous()


def _grid(rows: int, width: int) -> tuple[tuple[int, int], int]:
    block = min(BLOCK, triton.next_power_of_2(width))
    return (rows, triton.cdiv(width, block)), block


def _run_gelu(flat: Tensor, bias: Tensor | None, d_out: Tensor | None, *, tanh: bool) -> Tensor:
    rows, width = flat.shape
    out = torch.empty((rows, width), dtype=flat.dtype, device=flat.device)
    grid, block = _grid(rows, width)
    _bias_gelu_kernel[grid](
        flat, flat if bias is None else bias, flat if d_out is None else d_out, out, width, flat.stride(0),
        HAS_BIAS=bias is not None, TANH=tanh, BACKWARD=d_out is not None, BLOCK=block,
    )  # fmt: skip
    return out


class _BiasGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, bias, tanh):
        flat = _rows(x)
        ctx.save_for_backward(flat, bias)
        ctx.tanh = tanh
        return _run_gelu(flat, bias, None, tanh=tanh).view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        flat, bias = ctx.saved_tensors
        d_x = _run_gelu(flat, bias, d_out.reshape(flat.shape).contiguous(), tanh=ctx.tanh)
        d_bias = None if bias is None else d_x.sum(dim=0, dtype=torch.float32).to(bias.dtype)
        return d_x.view(d_out.shape), d_bias, None


class _Geglu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        flat = _rows(x)
        rows, width = flat.shape[0], flat.shape[1] // 2
        out = torch.empty((rows, width), dtype=x.dtype, device=x.device)
        grid, block = _grid(rows, width)
        _geglu_kernel[grid](flat, flat, out, width, flat.stride(0), BACKWARD=False, BLOCK=block)
        ctx.save_for_backward(flat)
        return out.view(*x.shape[:-1], width)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        (flat,) = ctx.saved_tensors
        rows, width = flat.shape[0], flat.shape[1] // 2
        d_x = torch.empty(flat.shape, dtype=flat.dtype, device=flat.device)
        grid, block = _grid(rows, width)
        d_flat = d_out.reshape(rows, width).contiguous()
        _geglu_kernel[grid](flat, d_flat, d_x, width, flat.stride(0), BACKWARD=True, BLOCK=block)
        return d_x.view(*d_out.shape[:-1], 2 * width)


def bias_gelu(x: Tensor, bias: Tensor | None, *, tanh: bool) -> Tensor:
    """gelu(x + bias) over the last axis."""
    return _BiasGelu.apply(x, None if bias is None else dense_vector("bias", bias, x.shape[-1]), tanh)


def geglu(x: Tensor) -> Tensor:
    """The first half of the last axis times the exact GELU of the second."""
    return _Geglu.apply(x)
