"""Activations for linear layers that may multiply in eight bits: rounded once for all layers that read them.

Such layers round their input, each row with a scale of its own (see `ea_kernels.linear`). Queries, keys and
values read the same tokens, and what they read is often a norm: whoever makes activations for several layers
names these, the readers, and gets plain activations unless all readers round alike.

Shapes: B batch, L tokens, D width. Scales, shifts and gates are as in `ea_kernels.ops`.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ea_kernels.norms import gated_residual, gated_residual_norm, modulated_layer_norm
from ea_kernels.quantised import modulated_norm_rows, quantise_rows
from ea_kernels.runtime.eight_bits import Activations, EightBitLinear, EightBitRows, Rounding

__all__ = [
    "Activations",
    "EightBitRows",
    "gated_residual_norm_for",
    "modulated_norm_for",
    "rounded",
    "rounded_for",
    "shared_rounding",
]

Affine = tuple[Tensor | None, Tensor | None]
"""Weight and bias of a norm."""


def shared_rounding(readers: Iterable[nn.Module]) -> Rounding | None:
    """How all readers round their input; None if they differ, take it plain, or are none."""
    ways = [reader.rounding if isinstance(reader, EightBitLinear) else None for reader in readers]
    return ways[0] if ways and all(way == ways[0] for way in ways) else None


def rounded(x: Activations, rounding: Rounding) -> EightBitRows:
    """Activations in eight bits, rounded here unless they were before.

    Raises:
        ValueError: If a gradient is wanted.
    """
    if isinstance(x, EightBitRows):
        return x
    _refuse_gradients(x)
    return EightBitRows(*quantise_rows(x, rounding.dtype, backend=rounding.backend), x.dtype)


def rounded_for(readers: Iterable[nn.Module], x: Activations) -> Activations:
    """What readers get: x in eight bits if they share a rounding, else x itself.

    Args:
        readers: The layers that read it.
        x: (..., D).

    Raises:
        ValueError: If a gradient is wanted of what is rounded.
    """
    rounding = shared_rounding(readers)
    return x if rounding is None else rounded(x, rounding)


def modulated_norm_for(
    readers: Iterable[nn.Module],
    x_BLD: Tensor,
    modulation: tuple[Tensor, Tensor],
    affine: Affine = (None, None),
    *,
    eps: float = 1e-5,
) -> Activations:
    """`rounded_for` of `ops.modulated_layer_norm`, in one pass where a kernel does it.

    Args:
        readers: The layers that read it.
        x_BLD: What is normed.
        modulation: Scale and shift after the norm.
        affine: Weight and bias of the norm, or None.
        eps: Of the norm.

    Raises:
        ValueError: If a gradient is wanted of what is rounded.
    """
    rounding = shared_rounding(readers)
    if rounding is None:
        return modulated_layer_norm(x_BLD, *modulation, *affine, eps=eps)
    _refuse_gradients(x_BLD, *modulation, *affine)
    way = {"dtype": rounding.dtype, "backend": rounding.backend}
    return EightBitRows(*modulated_norm_rows(x_BLD, modulation, affine, eps=eps, **way), x_BLD.dtype)


def gated_residual_norm_for(
    readers: Iterable[nn.Module],
    update: tuple[Tensor, Tensor, Tensor],
    modulation: tuple[Tensor, Tensor],
    affine: Affine = (None, None),
    *,
    eps: float = 1e-5,
    reuse: bool = False,
) -> tuple[Tensor, Activations]:
    """`ops.gated_residual_norm`, whose norm is what readers get.

    Args:
        readers: The layers that read the norm.
        update: The stream (B, L, D), the gate, and the update (B, L, D) that is added.
        modulation: Scale and shift after the norm.
        affine: Weight and bias of the norm, or None.
        eps: Of the norm.
        reuse: See `ops.gated_residual`.

    Returns:
        The stream after the update, and `modulated_norm_for` of it.

    Raises:
        ValueError: If a gradient is wanted of what is rounded.
    """
    readers = tuple(readers)
    if shared_rounding(readers) is None:
        return gated_residual_norm(*update, modulation, affine, eps=eps, reuse=reuse)
    x_BLD = gated_residual(*update, reuse=reuse)
    return x_BLD, modulated_norm_for(readers, x_BLD, modulation, affine, eps=eps)


def _refuse_gradients(*given: Tensor | None) -> None:
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in given):
        raise ValueError("EA_LINEAR: products in eight bits have no gradient; use 'restored'")
