"""Numbers in eight bits with a float32 scale per row, written out.

A row is x = scale * e with e in float8_e4m3fn (largest number 448) or int8 (-127 ... 127). Its scale is its
largest magnitude divided by the largest number of the format. A row that holds an infinity or NaN has the
scale NaN, so that all of its products are NaN and no other row notices; its eight bits mean nothing then.
"""

import torch
from torch import Tensor

from ea_kernels.reference.norms import modulated_layer_norm
from ea_kernels.runtime.eight_bits import LARGEST

LEAST_SCALE = torch.finfo(torch.float32).tiny
"""Of a row of zeros, or of numbers so small that their scale would be denormal."""


def quantise_rows(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """x (..., D) as eight bits (..., D) and float32 scales (..., 1)."""
    wide = x.float()
    largest = wide.abs().amax(dim=-1, keepdim=True)  # amax hands NaN on
    scale = (largest / LARGEST[dtype]).clamp_min(LEAST_SCALE)
    finite = largest.isfinite()
    eight = torch.where(finite, wide / scale, 0.0)
    eight = eight.round().to(dtype) if dtype == torch.int8 else eight.to(dtype)
    return eight, torch.where(finite, scale, torch.nan)


def scaled_linear(
    x8: Tensor,
    x_scale: Tensor,
    weight8_OI: Tensor,
    weight_scale_O1: Tensor,
    bias_O: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """x weight^T + bias of what the eight bits stand for; sums in float64, one cast at the end."""
    out = (x8.double() @ weight8_OI.double().T) * x_scale.double() * weight_scale_O1.double().T
    return (out if bias_O is None else out + bias_O.double()).to(dtype)


def modulated_norm_rows(
    x_BLD: Tensor,
    modulation: tuple[Tensor, Tensor],
    affine: tuple[Tensor | None, Tensor | None],
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """`quantise_rows` of `modulated_layer_norm`, with nothing rounded between them."""
    return quantise_rows(modulated_layer_norm(x_BLD.float(), *modulation, *affine, eps), dtype)
