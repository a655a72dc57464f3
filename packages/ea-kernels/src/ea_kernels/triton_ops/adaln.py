"""Adaptive LayerNorm, alone or after a gated residual, and the gated residual alone.

Shapes: B samples, L tokens, D width, G groups of L / G consecutive tokens that share a modulation (one per
sample, per frame, or per token). Each program of a forward kernel owns one token; those of a backward kernel
own a chunk of the tokens of one group and leave one row of sums, which are added up afterwards in a fixed
order.
"""

# Kernel arguments have no Python type, and pyright does not know what triton.jit makes of a function.
# pyright: reportMissingParameterType=false, reportIndexIssue=false, reportCallIssue=false
# pyright: reportArgumentType=false
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from ea_kernels.triton_ops.launch import chunk_rows, dense_vector, row_config, unit_last


@triton.jit
def _norm_fwd_kernel(
    x,
    gate,
    update,
    scale,
    shift,
    weight,
    bias,
    stream,
    out,
    mean,
    rstd,
    tokens,
    group_tokens,
    width,
    x_b,
    x_l,
    u_b,
    u_l,
    s_b,
    s_g,
    h_b,
    h_g,
    g_b,
    g_g,
    eps,
    GATED: tl.constexpr,
    MODULATED: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    b, token = row // tokens, row % tokens
    g = token // group_tokens
    cols = tl.arange(0, BLOCK)
    inside = cols < width
    value = tl.load(x + b * x_b + token * x_l + cols, mask=inside, other=0.0).to(tl.float32)
    if GATED:
        u = tl.load(update + b * u_b + token * u_l + cols, mask=inside, other=0.0).to(tl.float32)
        value += tl.load(gate + b * g_b + g * g_g + cols, mask=inside, other=0.0).to(tl.float32) * u
        # The norm reads what the next block will read: the rounded stream.
        rounded = value.to(stream.dtype.element_ty)
        tl.store(stream + row * width + cols, rounded, mask=inside)
        value = rounded.to(tl.float32)
    centre = tl.sum(value, axis=0) / width
    centred = tl.where(inside, value - centre, 0.0)
    inverse = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=0) / width + eps)
    tl.store(mean + row, centre)
    tl.store(rstd + row, inverse)
    y = centred * inverse
    if HAS_WEIGHT:
        y *= tl.load(weight + cols, mask=inside, other=0.0).to(tl.float32)
    if HAS_BIAS:
        y += tl.load(bias + cols, mask=inside, other=0.0).to(tl.float32)
    if MODULATED:
        y *= 1.0 + tl.load(scale + b * s_b + g * s_g + cols, mask=inside, other=0.0).to(tl.float32)
        y += tl.load(shift + b * h_b + g * h_g + cols, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * width + cols, y.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _norm_bwd_kernel(
    d_out,
    d_stream,
    stream,
    gate,
    update,
    scale,
    weight,
    bias,
    mean,
    rstd,
    d_x,
    d_update,
    sums,
    tokens,
    group_tokens,
    groups,
    chunk,
    chunks,
    width,
    x_b,
    x_l,
    u_b,
    u_l,
    s_b,
    s_g,
    g_b,
    g_g,
    plane,
    GATED: tl.constexpr,
    MODULATED: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    in_group, group = program % chunks, program // chunks
    b, g = group // groups, group % groups
    cols = tl.arange(0, BLOCK)
    inside = cols < width
    w = tl.full((BLOCK,), 1.0, tl.float32)
    offset = tl.zeros((BLOCK,), tl.float32)
    factor = tl.full((BLOCK,), 1.0, tl.float32)
    gates = tl.zeros((BLOCK,), tl.float32)
    if HAS_WEIGHT:
        w = tl.load(weight + cols, mask=inside, other=0.0).to(tl.float32)
    if HAS_BIAS:
        offset = tl.load(bias + cols, mask=inside, other=0.0).to(tl.float32)
    if MODULATED:
        factor += tl.load(scale + b * s_b + g * s_g + cols, mask=inside, other=0.0).to(tl.float32)
    if GATED:
        gates = tl.load(gate + b * g_b + g * g_g + cols, mask=inside, other=0.0).to(tl.float32)
    d_scale = tl.zeros((BLOCK,), tl.float32)
    d_shift = tl.zeros((BLOCK,), tl.float32)
    d_weight = tl.zeros((BLOCK,), tl.float32)
    d_gate = tl.zeros((BLOCK,), tl.float32)
    first = in_group * chunk
    for i in range(chunk):
        within = first + i
        alive = cols < tl.where(within < group_tokens, width, 0)
        token = g * group_tokens + tl.minimum(within, group_tokens - 1)
        row = b * tokens + token
        dy = tl.load(d_out + row * width + cols, mask=alive, other=0.0).to(tl.float32)
        value = tl.load(stream + b * x_b + token * x_l + cols, mask=alive, other=0.0).to(tl.float32)
        inverse = tl.load(rstd + row)
        normed = tl.where(alive, (value - tl.load(mean + row)) * inverse, 0.0)
        d_scale += dy * (normed * w + offset)
        d_shift += dy
        dy *= factor
        d_weight += dy * normed
        dy *= w
        through_mean = tl.sum(dy, axis=0) / width
        through_rstd = tl.sum(dy * normed, axis=0) / width
        dx = (dy - through_mean - normed * through_rstd) * inverse
        if GATED:
            dx += tl.load(d_stream + row * width + cols, mask=alive, other=0.0).to(tl.float32)
            u = tl.load(update + b * u_b + token * u_l + cols, mask=alive, other=0.0).to(tl.float32)
            d_gate += tl.where(alive, dx * u, 0.0)
            tl.store(d_update + row * width + cols, (dx * gates).to(d_update.dtype.element_ty), mask=alive)
        tl.store(d_x + row * width + cols, dx.to(d_x.dtype.element_ty), mask=alive)
    target = sums + program * width + cols
    tl.store(target, d_shift, mask=inside)
    if MODULATED:
        tl.store(target + plane, d_scale, mask=inside)
    if HAS_WEIGHT:
        tl.store(target + 2 * plane, d_weight, mask=inside)
    if GATED:
        tl.store(target + 3 * plane, d_gate, mask=inside)


def _as_groups(modulation: Tensor, tokens: int) -> Tensor:
    """(B, D) or (B, G, D) as a dense-rowed (B, G, D)."""
    grouped = modulation.unsqueeze(1) if modulation.ndim == 2 else modulation
    assert tokens == _per_group(tokens, grouped.shape[1]) * grouped.shape[1]
    return unit_last(grouped)


def _per_group(tokens: int, groups: int) -> int:
    """Tokens of a group; no tokens may be in no groups."""
    return tokens // max(1, groups)


class _Norm(torch.autograd.Function):
    """LayerNorm with optional affine, modulation and a gated residual before it."""

    @staticmethod
    def forward(ctx, x, gate, update, scale, shift, weight, bias, eps):
        batch, tokens, width = x.shape
        x = unit_last(x)
        rows = batch * tokens
        block, warps = row_config(width)
        gated, modulated = gate is not None, scale is not None
        out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        mean, rstd = torch.empty((2, rows), dtype=torch.float32, device=x.device).unbind()
        stream = torch.empty_like(out) if gated else x
        scale3, shift3 = (_as_groups(scale, tokens), _as_groups(shift, tokens)) if modulated else (x, x)
        gate3, update = (_as_groups(gate, tokens), unit_last(update)) if gated else (x, x)
        groups = scale3.shape[1] if modulated else gate3.shape[1] if gated else 1
        weight, bias = dense_vector("weight", weight, width), dense_vector("bias", bias, width)
        _norm_fwd_kernel[(rows,)](
            x, gate3, update, scale3, shift3, x if weight is None else weight, x if bias is None else bias,
            stream, out, mean, rstd, tokens, _per_group(tokens, groups), width, x.stride(0), x.stride(1),
            update.stride(0), update.stride(1), scale3.stride(0), scale3.stride(1), shift3.stride(0),
            shift3.stride(1), gate3.stride(0), gate3.stride(1), eps, GATED=gated, MODULATED=modulated,
            HAS_WEIGHT=weight is not None, HAS_BIAS=bias is not None, BLOCK=block, num_warps=warps,
        )  # fmt: skip
        ctx.save_for_backward(
            stream, gate3 if gated else None, update if gated else None, scale3 if modulated else None,
            weight, bias, mean, rstd,
        )  # fmt: skip
        ctx.groups = groups
        ctx.shapes = tuple(None if m is None else m.shape for m in (gate, scale, shift))
        ctx.dtypes = tuple(
            None if m is None else m.dtype for m in (x, gate, update, scale, shift, weight, bias)
        )
        return (stream, out) if gated else out

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads):
        stream, gate, update, scale, weight, bias, mean, rstd = ctx.saved_tensors
        batch, tokens, width = stream.shape
        groups, gated, modulated = ctx.groups, gate is not None, scale is not None
        d_stream = grads[0].contiguous() if gated else stream
        d_out = grads[-1].contiguous()
        chunk, chunks = chunk_rows(_per_group(tokens, groups), batch * groups)
        block, warps = row_config(width)
        kind = ctx.dtypes
        sums = torch.zeros((4, batch, groups, chunks, width), dtype=torch.float32, device=stream.device)
        d_x = torch.empty(stream.shape, dtype=kind[0], device=stream.device)
        d_update = torch.empty(stream.shape, dtype=kind[2], device=stream.device) if gated else d_x
        none = stream
        _norm_bwd_kernel[(batch * groups * chunks if tokens else 0,)](
            d_out, d_stream, stream, gate if gated else none, update if gated else none,
            scale if modulated else none, none if weight is None else weight, none if bias is None else bias,
            mean, rstd, d_x, d_update, sums, tokens, _per_group(tokens, groups), groups, chunk, chunks,
            width, stream.stride(0), stream.stride(1),
            *(update.stride()[:2] if gated else (0, 0)), *(scale.stride()[:2] if modulated else (0, 0)),
            *(gate.stride()[:2] if gated else (0, 0)), sums.stride(0), GATED=gated, MODULATED=modulated,
            HAS_WEIGHT=weight is not None, HAS_BIAS=bias is not None, BLOCK=block, num_warps=warps,
        )  # fmt: skip
        per_group = sums.sum(dim=3)
        gate_shape, scale_shape, shift_shape = ctx.shapes
        d_gate = per_group[3].view(gate_shape).to(kind[1]) if gated else None
        d_scale = per_group[1].view(scale_shape).to(kind[3]) if modulated else None
        d_shift = per_group[0].view(shift_shape).to(kind[4]) if modulated else None
        d_weight = None if weight is None else per_group[2].sum(dim=(0, 1)).to(kind[5])
        d_bias = None
        if bias is not None:  # what reaches the bias went through (1 + scale)
            reaching = per_group[0] * (1 + scale.float()) if modulated else per_group[0]
            d_bias = reaching.sum(dim=(0, 1)).to(kind[6])
        return d_x, d_gate, d_update if gated else None, d_scale, d_shift, d_weight, d_bias, None


@triton.jit
def _gate_kernel(
    x,
    gate,
    update,
    out,
    tokens,
    group_tokens,
    width,
    x_b,
    x_l,
    u_b,
    u_l,
    g_b,
    g_g,
    ADD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    b, token = row // tokens, row % tokens
    cols = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = cols < width
    value = tl.load(update + b * u_b + token * u_l + cols, mask=inside, other=0.0).to(tl.float32)
    value *= tl.load(gate + b * g_b + token // group_tokens * g_g + cols, mask=inside, other=0.0).to(
        tl.float32
    )
    if ADD:
        value += tl.load(x + b * x_b + token * x_l + cols, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * width + cols, value.to(out.dtype.element_ty), mask=inside)


def _gate(x: Tensor | None, gate: Tensor, update: Tensor, dtype: torch.dtype) -> Tensor:
    """x + gate * update, or the product alone."""
    batch, tokens, width = update.shape
    base = update if x is None else x
    out = torch.empty(update.shape, dtype=dtype, device=update.device)
    block = min(1024, triton.next_power_of_2(width))
    _gate_kernel[(batch * tokens, triton.cdiv(width, block))](
        base, gate, update, out, tokens, _per_group(tokens, gate.shape[1]), width, base.stride(0),
        base.stride(1), update.stride(0), update.stride(1), gate.stride(0), gate.stride(1),
        ADD=x is not None, BLOCK=block,
    )  # fmt: skip
    return out


class _GatedResidual(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gate, update):
        grouped, update = _as_groups(gate, x.shape[1]), unit_last(update)
        ctx.save_for_backward(grouped, update)
        ctx.gate_shape, ctx.gate_dtype = gate.shape, gate.dtype
        return _gate(unit_last(x), grouped, update, x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        gate, update = ctx.saved_tensors
        d_update = _gate(None, gate, d_out.contiguous(), update.dtype) if ctx.needs_input_grad[2] else None
        d_gate = None
        if ctx.needs_input_grad[1]:
            product, groups = d_out.float() * update.float(), gate.shape[1]
            d_gate = product.unflatten(1, (groups, _per_group(product.shape[1], groups))).sum(dim=2)
            d_gate = d_gate.view(ctx.gate_shape).to(ctx.gate_dtype)
        return d_out, d_gate, d_update


def modulated_layer_norm(
    x: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """LayerNorm of (B, L, D), then x (1 + scale) + shift; scale and shift are (B, D) or (B, G, D)."""
    return _Norm.apply(x, None, None, scale, shift, weight, bias, eps)


def gated_residual_norm(
    x: Tensor,
    gate: Tensor,
    update: Tensor,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """x + gate * update, and its modulated LayerNorm, in one pass; one shape of gate, scale and shift."""
    return _Norm.apply(x, gate, update, scale, shift, weight, bias, eps)


def gated_residual(x: Tensor, gate: Tensor, update: Tensor) -> Tensor:
    """x + gate * update with gates (B, D) or (B, G, D)."""
    return _GatedResidual.apply(x, gate, update)
