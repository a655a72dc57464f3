"""Norms, modulations and gated residuals, by the backend that is asked for. Public in `ea_kernels.ops`.

Shapes: B batch, L tokens, D width, C channels, G groups of L / G consecutive tokens that share a modulation.
Scales, shifts and gates are (B, D), one per sample, or (B, G, D).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ea_kernels.channels_last import group_norm_last, prefers_group_norm_last, rounds_coarsely
from ea_kernels.reference import norms as reference_norms
from ea_kernels.triton_ops.availability import resolve_backend


def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    backend: str = "auto",
) -> Tensor:
    """LayerNorm over the last axis: statistics and affine in float32, the result in the dtype of x."""
    chosen = resolve_backend(backend, x, "layer_norm")
    if chosen == "reference":
        return reference_norms.layer_norm(x, weight, bias, eps)
    if chosen == "triton":
        from ea_kernels.triton_ops import adaln

        rows = x.reshape(1, -1, x.shape[-1])
        return adaln.modulated_layer_norm(rows, None, None, weight, bias, eps).view(x.shape)
    # The fused forward computes in float32 inside, whatever the dtype. Its backward on a CPU does not: it
    # sums the gradients of weight and bias in the low precision.
    exact = x.dtype == torch.float32 or x.is_cuda or not torch.is_grad_enabled()
    if weight is None or (weight.dtype == x.dtype and exact):
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps).to(x.dtype)
    bias32 = None if bias is None else bias.float()
    return F.layer_norm(x.float(), x.shape[-1:], weight.float(), bias32, eps).to(x.dtype)


def rms_norm(x: Tensor, weight: Tensor | None = None, *, eps: float = 1e-6, backend: str = "auto") -> Tensor:
    """x / sqrt(mean(x^2) + eps) in float32, cast back to the dtype of x, then times the weight."""
    chosen = resolve_backend(backend, x, "rms_norm")
    if chosen == "reference":
        return reference_norms.rms_norm(x, weight, eps)
    if chosen == "triton":
        from ea_kernels.triton_ops import heads

        rows = x.reshape(1, -1, 1, x.shape[-1])
        alike = weight is not None and weight.dtype == x.dtype
        out = heads.heads(rows, weight if alike else None, None, None, norm=heads.RMS, eps=eps).view(x.shape)
        return out if alike or weight is None else out * weight
    x32 = x.float()
    out = (x32 * torch.rsqrt(x32.square().mean(dim=-1, keepdim=True) + eps)).to(x.dtype)
    return out if weight is None else out * weight


def group_norm(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-6,
    backend: str = "auto",
) -> Tensor:
    """GroupNorm of (B, C, ...): statistics in float32, the result in the dtype of x.

    Raises:
        ValueError: If the channels cannot be divided into that many groups.
    """
    _check_groups(x, num_groups)
    if not x.numel():
        return x
    chosen = resolve_backend(backend, x, "group_norm")
    if chosen == "reference":
        return reference_norms.group_norm(x, num_groups, weight, bias, eps)
    if chosen == "triton":
        from ea_kernels.triton_ops import group_norm as kernels

        return kernels.group_norm(x, num_groups, weight, bias, eps=eps, silu=False, per_frame=False)
    if prefers_group_norm_last(x) and writes_in_place(x):
        return group_norm_last(x, num_groups, weight, bias, eps)
    x = x.contiguous() if rounds_coarsely(x) else x
    return F.group_norm(x, num_groups, weight, bias, eps).to(x.dtype)


def group_norm_silu(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-6,
    per_frame: bool = False,
    out: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """SiLU of the GroupNorm of (B, C, ...), the first half of a residual block.

    Args:
        x: Clips (B, C, T, H, W), or any (B, C, ...) without `per_frame`.
        num_groups: Channel groups.
        weight: (C,) or None.
        bias: (C,) or None.
        eps: Added to the variance.
        per_frame: Statistics of each frame on its own.
        out: Shaped as x; where the result is written, if no gradient is wanted.
        backend: See the module. The kernels write channels-last memory.

    Raises:
        ValueError: If the channels cannot be divided into that many groups.
    """
    _check_groups(x, num_groups)
    if not x.numel():
        return x if out is None else out
    chosen = resolve_backend(backend, x, "group_norm_silu")
    if chosen == "reference":
        found = reference_norms.group_norm_silu(x, num_groups, weight, bias, eps, per_frame=per_frame)
        return found if out is None else out.copy_(found)
    if chosen == "triton":
        from ea_kernels.triton_ops import group_norm as kernels

        found = kernels.group_norm(x, num_groups, weight, bias, eps=eps, silu=True, per_frame=per_frame)
        return found if out is None else out.copy_(found)
    if prefers_group_norm_last(x, out) and writes_in_place(x):
        return group_norm_last(x, num_groups, weight, bias, eps, per_frame=per_frame, silu=True, out=out)
    frames = x.transpose(1, 2).flatten(0, 1) if per_frame else x
    normed = group_norm(frames, num_groups, weight, bias, eps=eps, backend="torch")
    normed = normed.unflatten(0, (x.shape[0], -1)).transpose(1, 2) if per_frame else normed
    return F.silu(normed) if out is None else torch.ops.aten.silu.out(normed, out=out)


def _check_groups(x: Tensor, num_groups: int) -> None:
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(f"num_groups must divide the {x.shape[1]} channels, got {num_groups}")


def modulate(x_BLD: Tensor, scale: Tensor, shift: Tensor, *, backend: str = "auto") -> Tensor:
    """x (1 + scale) + shift; the result has the dtype of x."""
    tokens = token_count(x_BLD, scale, shift)
    if resolve_backend(backend, x_BLD, "modulate") == "reference":
        return reference_norms.modulate(x_BLD, scale, shift)
    # No kernel of its own: models modulate what they have just normed, which is one.
    spread = reference_norms.per_token
    return torch.addcmul(spread(shift, tokens), x_BLD, 1 + spread(scale, tokens)).to(x_BLD.dtype)


def modulated_layer_norm(
    x_BLD: Tensor,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    backend: str = "auto",
) -> Tensor:
    """`modulate(layer_norm(x), scale, shift)`, in one pass where a kernel does it, in the dtype of x."""
    tokens = token_count(x_BLD, scale, shift)
    chosen = resolve_backend(backend, x_BLD, "modulated_layer_norm")
    if chosen == "reference":
        return reference_norms.modulated_layer_norm(x_BLD, scale, shift, weight, bias, eps)
    if chosen == "triton":
        from ea_kernels.triton_ops import adaln

        scale, shift = grouped_alike(x_BLD, scale, shift)
        return adaln.modulated_layer_norm(x_BLD, scale, shift, weight, bias, eps)
    if _one_affine(x_BLD, scale, weight):
        scale_D, shift_D = 1 + scale.reshape(-1).float(), shift.reshape(-1).float()
        weight_D = scale_D if weight is None else weight * scale_D
        bias_D = shift_D if bias is None else torch.addcmul(shift_D, bias, scale_D)
        return F.layer_norm(x_BLD, x_BLD.shape[-1:], weight_D, bias_D, eps)
    normed = layer_norm(x_BLD, weight, bias, eps=eps, backend="torch")
    spread = reference_norms.per_token
    shift, factor = spread(shift, tokens), 1 + spread(scale, tokens)
    return torch.addcmul(shift, normed, factor, out=reusable(normed, shift, factor)).to(x_BLD.dtype)


def _one_affine(x_BLD: Tensor, scale: Tensor, weight: Tensor | None) -> bool:
    """Whether a single sample learns in float32: its scale and shift can then be those of the norm itself.

    The backward pass keeps no second copy of x and makes two products less.
    """
    plain = x_BLD.dtype == torch.float32 and (weight is None or weight.dtype == torch.float32)
    return plain and len(x_BLD) == 1 and scale.numel() == x_BLD.shape[-1] and torch.is_grad_enabled()


def gated_residual(
    x_BLD: Tensor, gate: Tensor, update_BLD: Tensor, *, reuse: bool = False, backend: str = "auto"
) -> Tensor:
    """x + gate * update; the result has the dtype of x.

    Args:
        x_BLD: The residual stream.
        gate: Of the update.
        update_BLD: What is added.
        reuse: The update is read by nothing else: the result may take its memory where no gradient is wanted.
        backend: See `ea_kernels.ops`.

    Raises:
        ValueError: If the update is not shaped as x, or the gate does not fit.
    """
    tokens = token_count(x_BLD, gate)
    _check_update(x_BLD, update_BLD)
    chosen = resolve_backend(backend, x_BLD, "gated_residual")
    if chosen == "reference":
        return reference_norms.gated_residual(x_BLD, gate, update_BLD)
    if chosen == "triton":
        from ea_kernels.triton_ops import adaln

        return adaln.gated_residual(x_BLD, per_sample(gate, x_BLD), update_BLD)
    gate = reference_norms.per_token(gate, tokens)
    out = reusable(update_BLD, x_BLD, gate) if reuse else None
    return torch.addcmul(x_BLD, gate, update_BLD, out=out).to(x_BLD.dtype)


def gated_residual_norm(
    x_BLD: Tensor,
    gate: Tensor,
    update_BLD: Tensor,
    modulation: tuple[Tensor, Tensor],
    affine: tuple[Tensor | None, Tensor | None] = (None, None),
    *,
    eps: float = 1e-5,
    reuse: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """A gated residual and the modulated norm that reads it, in one pass where a kernel does it.

    Args:
        x_BLD: The residual stream.
        gate: Of the update; shaped as the modulation.
        update_BLD: What is added.
        modulation: Scale and shift after the norm.
        affine: Weight and bias of the norm, or None.
        eps: Of the norm.
        reuse: See `gated_residual`.
        backend: See the module.

    Returns:
        x + gate * update, and `modulated_layer_norm` of it.

    Raises:
        ValueError: If the update is not shaped as x, or the gate or modulation does not fit.
    """
    scale, shift = modulation
    token_count(x_BLD, gate, scale, shift)
    _check_update(x_BLD, update_BLD)
    chosen = resolve_backend(backend, x_BLD, "gated_residual_norm")
    if chosen == "triton":
        from ea_kernels.triton_ops import adaln

        gate, scale, shift = grouped_alike(x_BLD, gate, scale, shift)
        return adaln.gated_residual_norm(x_BLD, gate, update_BLD, scale, shift, *affine, eps)
    x_BLD = gated_residual(x_BLD, gate, update_BLD, reuse=reuse, backend=backend)
    return x_BLD, modulated_layer_norm(x_BLD, scale, shift, *affine, eps=eps, backend=backend)


def writes_in_place(x: Tensor) -> bool:
    """Whether results may be written into parts of a buffer: no gradient, no compiler, no autocast."""
    recording = torch.is_grad_enabled() or torch.compiler.is_compiling()
    return not recording and not torch.is_autocast_enabled(x.device.type)


def reusable(buffer: Tensor, *others: Tensor) -> Tensor | None:
    """The buffer, if a result made of it and of what broadcasts to it can be written over it; else None.

    A large result in new memory costs the pages that the system has to clear first.
    """
    same = all(other.dtype == buffer.dtype for other in others)
    return buffer if same and buffer.is_contiguous() and writes_in_place(buffer) else None


def token_count(x_BLD: Tensor, *modulations: Tensor) -> int:
    """L, after looking that the modulations fit.

    Raises:
        ValueError: If one is not (B, D) or (B, G, D) with G a divisor of L.
    """
    batch, tokens, width = x_BLD.shape
    for given in modulations:
        shape = tuple(given.shape)
        groups = shape[1] if len(shape) == 3 else 1
        fits = len(shape) in (2, 3) and shape[0] in (1, batch) and shape[-1] in (1, width)
        if not fits or (tokens % groups if groups else tokens):
            raise ValueError(
                f"a modulation of tokens {tuple(x_BLD.shape)} must be (B, D) or (B, G, D), G a divisor of "
                f"{tokens}; got {shape}"
            )
    return tokens


def _check_update(x_BLD: Tensor, update_BLD: Tensor) -> None:
    if update_BLD.shape != x_BLD.shape:
        shapes = f"{tuple(x_BLD.shape)} and {tuple(update_BLD.shape)}"
        raise ValueError(f"update_BLD must have the shape of x_BLD, got {shapes}")


def per_sample(modulation: Tensor, x_BLD: Tensor) -> Tensor:
    """One modulation that counts for all samples becomes one for each, without a copy."""
    return modulation.expand(x_BLD.shape[0], *modulation.shape[1:-1], x_BLD.shape[-1])


def grouped_alike(x_BLD: Tensor, *modulations: Tensor) -> tuple[Tensor, ...]:
    """Modulations for each sample that share groups, as kernels take them: per token where they differ."""
    tokens, found = x_BLD.shape[1], [per_sample(modulation, x_BLD) for modulation in modulations]
    if len({modulation.shape[1:-1] for modulation in found}) == 1:
        return tuple(found)
    return tuple(reference_norms.per_token(m, tokens).expand(-1, tokens, -1) for m in found)
