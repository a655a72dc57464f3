"""The functional API: every op, whatever computes it.

`backend` is "auto", "torch", "triton" or "reference" (eager float32 truth). A backend that was asked for by
name and is not available is an error; only "auto" may choose: what the environment variable EA_KERNELS names,
else Triton where `triton_ops/measured.json` says that it is faster, else torch. Shapes:
B batch, L tokens, H heads, D width (of the model or of a head), P = D / 2 pairs, G groups of L / G
consecutive tokens that share a modulation. Scales, shifts and gates are (B, D), one per sample, or (B, G, D):
per frame or token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ea_kernels.attention import packed_attention, resolve_attention, window_attention
from ea_kernels.convolution import conv2d, conv3d
from ea_kernels.frames import join_frames, joins_in_one_pass
from ea_kernels.heads import apply_rotary, join_heads, linear_into, norm_heads
from ea_kernels.norms import (
    gated_residual,
    gated_residual_norm,
    group_norm,
    group_norm_silu,
    layer_norm,
    modulate,
    modulated_layer_norm,
    reusable,
    rms_norm,
    writes_in_place,
)
from ea_kernels.quantised import modulated_norm_rows, quantise_rows, scaled_linear
from ea_kernels.reference import activations as reference_activations
from ea_kernels.reference.heads import HeadNorm
from ea_kernels.triton_ops.availability import resolve_backend

__all__ = [
    "HeadNorm",
    "apply_rotary",
    "attention",
    "conv2d",
    "conv3d",
    "gated_residual",
    "gated_residual_norm",
    "geglu",
    "gelu",
    "group_norm",
    "group_norm_silu",
    "join_frames",
    "join_heads",
    "joins_in_one_pass",
    "layer_norm",
    "linear_into",
    "modulate",
    "modulated_layer_norm",
    "modulated_norm_rows",
    "norm_heads",
    "packed_attention",
    "quantise_rows",
    "reusable",
    "rms_norm",
    "scaled_linear",
    "silu",
    "window_attention",
    "writes_in_place",
]


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
        backend: "auto" (that in the environment variable EA_ATTENTION, else the best one), "torch", "flash3",
            "flash2", "cudnn", "torch-flash", "efficient", "triton" or "reference".

    Returns:
        (B, L, H, D); zeros where a boolean mask leaves a query no key.

    Raises:
        ValueError: For a backend that is not known or cannot compute this.
    """
    return resolve_attention(backend)(q_BLHD, k_BSHD, v_BSHD, mask=mask, scale=scale)


def gelu(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    tanh: bool = False,
    reuse: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Gaussian error linear unit of x (+ bias over the last axis), exact or with the tanh approximation.

    Args:
        x: Any shape.
        bias: Added first, over the last axis.
        tanh: The approximation.
        reuse: x is read by nothing else: the result may take its memory where no gradient is wanted.
        backend: See the module.
    """
    chosen = resolve_backend(backend, x, "gelu")
    if chosen == "reference":
        x32 = x if bias is None else x.float() + bias.float()
        return reference_activations.gelu(x32, tanh=tanh).to(x.dtype)
    if chosen == "triton":
        from ea_kernels.triton_ops import activations

        return activations.bias_gelu(x, bias, tanh=tanh)
    x = x if bias is None else x + bias
    kind = "tanh" if tanh else "none"
    if (reuse or bias is not None) and reusable(x) is not None:
        return torch.ops.aten.gelu_(x, approximate=kind)
    return F.gelu(x, approximate=kind)


def geglu(x: Tensor, *, backend: str = "auto") -> Tensor:
    """Splits the last axis in halves (a, g) and returns a * exact gelu(g).

    Raises:
        ValueError: If that axis is odd.
    """
    if x.shape[-1] % 2:
        raise ValueError(f"geglu splits the last axis in halves, got {tuple(x.shape)}")
    chosen = resolve_backend(backend, x, "geglu")
    if chosen == "reference":
        return reference_activations.geglu(x)
    if chosen == "triton":
        from ea_kernels.triton_ops import activations

        return activations.geglu(x)
    value, gate = x.chunk(2, dim=-1)
    return value * F.gelu(gate)


def silu(x: Tensor, *, backend: str = "auto") -> Tensor:
    """x * sigmoid(x); torch's kernel is what "triton" would be."""
    if resolve_backend(backend, x, "silu") == "reference":
        return reference_activations.silu(x)
    return F.silu(x)
