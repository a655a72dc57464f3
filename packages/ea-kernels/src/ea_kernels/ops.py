"""The functional API: every op, whatever computes it.

`backend` is "auto" (the best one available), "torch" or "reference" (eager float32 truth). A backend that
was asked for by name and is not available is an error; only "auto" may choose.
Shapes: B batch, L tokens, H heads, D width (of the model or of a head), P = D / 2 pairs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ea_kernels.attention import resolve_attention
from ea_kernels.convolution import conv2d, conv3d
from ea_kernels.reference import activations as reference_activations
from ea_kernels.reference import norms as reference_norms
from ea_kernels.reference import rotary as reference_rotary

__all__ = [
    "apply_rotary",
    "attention",
    "conv2d",
    "conv3d",
    "gated_residual",
    "geglu",
    "gelu",
    "group_norm",
    "layer_norm",
    "modulate",
    "modulated_layer_norm",
    "rms_norm",
    "silu",
]


def _is_reference(backend: str) -> bool:
    if backend in ("auto", "torch"):
        return False
    if backend == "reference":
        return True
    raise ValueError(f"backend {backend!r} is not available; choose one of: auto, torch, reference")


def attention(
    q_BLHD: Tensor,
    k_BSHD: Tensor,
    v_BSHD: Tensor,
    *,
    mask: Tensor | None = None,
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """softmax(q k^T * scale) v.

    Args:
        q_BLHD: Queries.
        k_BSHD: Keys, S of them.
        v_BSHD: Values.
        mask: Boolean (True takes part) or additive, broadcastable to (B, H, L, S).
        scale: Factor on the scores, 1 / sqrt(D) when None.
        backend: See the module.

    Returns:
        (B, L, H, D).
    """
    return resolve_attention(backend)(q_BLHD, k_BSHD, v_BSHD, mask=mask, scale=scale)


def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    backend: str = "auto",
) -> Tensor:
    """LayerNorm over the last axis: statistics and affine in float32, the result in the dtype of x."""
    if _is_reference(backend):
        return reference_norms.layer_norm(x, weight, bias, eps)
    # The fused forward computes in float32 inside, whatever the dtype. Its backward on a CPU does not: it
    # sums the gradients of weight and bias in the low precision.
    exact = x.dtype == torch.float32 or x.is_cuda or not torch.is_grad_enabled()
    if weight is None or (weight.dtype == x.dtype and exact):
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps).to(x.dtype)
    bias32 = None if bias is None else bias.float()
    return F.layer_norm(x.float(), x.shape[-1:], weight.float(), bias32, eps).to(x.dtype)


def rms_norm(x: Tensor, weight: Tensor | None = None, *, eps: float = 1e-6, backend: str = "auto") -> Tensor:
    """x / sqrt(mean(x^2) + eps) in float32, cast back to the dtype of x, then times the weight."""
    if _is_reference(backend):
        return reference_norms.rms_norm(x, weight, eps)
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
    """GroupNorm of (B, C, ...): statistics in float32, the result in the dtype of x."""
    if _is_reference(backend):
        return reference_norms.group_norm(x, num_groups, weight, bias, eps)
    return F.group_norm(x, num_groups, weight, bias, eps).to(x.dtype)


def modulate(x_BLD: Tensor, scale_BD: Tensor, shift_BD: Tensor, *, backend: str = "auto") -> Tensor:
    """x (1 + scale) + shift, one scale and shift per sample."""
    if _is_reference(backend):
        return reference_norms.modulate(x_BLD, scale_BD, shift_BD)
    return torch.addcmul(shift_BD.unsqueeze(1), x_BLD, (1 + scale_BD).unsqueeze(1))


def _one_affine(x_BLD: Tensor, weight: Tensor | None) -> bool:
    """Whether a single sample learns in float32: its scale and shift can then be those of the norm itself.

    The backward pass keeps no second copy of x and makes two products less.
    """
    plain = x_BLD.dtype == torch.float32 and (weight is None or weight.dtype == torch.float32)
    return plain and len(x_BLD) == 1 and torch.is_grad_enabled()


def modulated_layer_norm(
    x_BLD: Tensor,
    scale_BD: Tensor,
    shift_BD: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    eps: float = 1e-5,
    backend: str = "auto",
) -> Tensor:
    """`modulate(layer_norm(x), scale, shift)`, one call so that a kernel can do both in one pass."""
    if not _is_reference(backend) and _one_affine(x_BLD, weight):
        scale_D, shift_D = 1 + scale_BD[0].float(), shift_BD[0].float()
        weight_D = scale_D if weight is None else weight * scale_D
        bias_D = shift_D if bias is None else torch.addcmul(shift_D, bias, scale_D)
        return F.layer_norm(x_BLD, x_BLD.shape[-1:], weight_D, bias_D, eps)
    normed = layer_norm(x_BLD, weight, bias, eps=eps, backend=backend)
    return modulate(normed, scale_BD, shift_BD, backend=backend)


def gated_residual(x_BLD: Tensor, gate_BD: Tensor, update_BLD: Tensor, *, backend: str = "auto") -> Tensor:
    """x + gate * update, one gate per sample; the result has the dtype of x."""
    if _is_reference(backend):
        return reference_norms.gated_residual(x_BLD, gate_BD, update_BLD)
    return torch.addcmul(x_BLD, gate_BD.unsqueeze(1), update_BLD).to(x_BLD.dtype)


def apply_rotary(x_BLHD: Tensor, cos_LP: Tensor, sin_LP: Tensor, *, backend: str = "auto") -> Tensor:
    """Rotates the interleaved pairs (2p, 2p+1) of x by the given angles, in float32, cast back.

    Args:
        x_BLHD: Queries or keys.
        cos_LP: float32 cosines, one per token and pair.
        sin_LP: float32 sines.
        backend: See the module.
    """
    if _is_reference(backend):
        return reference_rotary.apply_rotary(x_BLHD, cos_LP, sin_LP)
    if torch.compiler.is_compiling():  # the compiler fuses the four products, and knows no complex numbers
        first, second = x_BLHD.float().unflatten(-1, (-1, 2)).unbind(-1)
        cos_L1P, sin_L1P = cos_LP.unsqueeze(1), sin_LP.unsqueeze(1)
        pair = (first * cos_L1P - second * sin_L1P, first * sin_L1P + second * cos_L1P)
        return torch.stack(pair, dim=-1).flatten(-2).to(x_BLHD.dtype)
    # As complex numbers the pair rotation is one vectorised product instead of four strided ones.
    pairs = torch.view_as_complex(x_BLHD.float().unflatten(-1, (-1, 2)))
    rotated = pairs * torch.complex(cos_LP, sin_LP).unsqueeze(1)
    return torch.view_as_real(rotated).flatten(-2).to(x_BLHD.dtype)


def gelu(x: Tensor, *, tanh: bool = False, backend: str = "auto") -> Tensor:
    """Gaussian error linear unit, exact or with the tanh approximation."""
    if _is_reference(backend):
        return reference_activations.gelu(x, tanh=tanh)
    return F.gelu(x, approximate="tanh" if tanh else "none")


def geglu(x: Tensor, *, backend: str = "auto") -> Tensor:
    """Splits the last axis in halves (a, g) and returns a * exact gelu(g)."""
    if _is_reference(backend):
        return reference_activations.geglu(x)
    value, gate = x.chunk(2, dim=-1)
    return value * F.gelu(gate)


def silu(x: Tensor, *, backend: str = "auto") -> Tensor:
    """x * sigmoid(x)."""
    if _is_reference(backend):
        return reference_activations.silu(x)
    return F.silu(x)
