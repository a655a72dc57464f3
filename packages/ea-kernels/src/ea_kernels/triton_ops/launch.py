"""What launching kernels has in common: block sizes, row strides, sums over programs."""

import torch
import triton
from torch import Tensor

from ea_kernels.triton_ops.availability import interpreted

MAX_FEATURES = 65536
"""Widest row that a program keeps in registers; Triton refuses larger tiles long before it is sensible."""
PROGRAMS = 1024
"""Programs that a reduction is cut into: a few per multiprocessor of the largest GPUs, few rows of sums."""


def row_config(width: int) -> tuple[int, int]:
    """Block size and warps for kernels that hold a whole row.

    Raises:
        ValueError: If the row is too wide.
    """
    if width > MAX_FEATURES:
        raise ValueError(f"backend 'triton' takes rows of at most {MAX_FEATURES} features, got {width}")
    block = triton.next_power_of_2(width)
    return block, 4 if block <= 1024 else 8 if block <= 8192 else 16


def chunk_rows(rows: int, groups: int, *, least: int = 1) -> tuple[int, int]:
    """Cuts each of `groups` groups of `rows` rows into chunks, for about `PROGRAMS` programs.

    Args:
        rows: Of each group.
        groups: Their number.
        least: Rows that a chunk has at least.

    Returns:
        Rows per chunk, and chunks per group.
    """
    chunks = max(1, min(rows, PROGRAMS // max(1, groups)))
    size = max(least, triton.cdiv(rows, chunks))
    return size, max(1, triton.cdiv(rows, size))


def unit_last(x: Tensor) -> Tensor:
    """x itself if its last axis is dense, else a contiguous copy."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def dense_vector(name: str, parameter: Tensor | None, width: int) -> Tensor | None:
    """A parameter over an axis of `width` numbers, dense, as kernels read it without looking.

    Raises:
        ValueError: If it has another shape.
    """
    if parameter is None:
        return None
    if tuple(parameter.shape) != (width,):
        raise ValueError(f"{name} must have the shape ({width},), got {tuple(parameter.shape)}")
    return parameter.contiguous()


def upcasts_dots(*tensors: Tensor) -> bool:
    """Whether operands of `tl.dot` must be float32: the interpreter multiplies bfloat16 wrongly, silently."""
    return interpreted() and any(tensor.dtype == torch.bfloat16 for tensor in tensors)
