"""How a LoHa or a LoKr starts: nothing is changed by it at first.

LoHa: Hyeon-Woo et al. 2021 (https://arxiv.org/abs/2108.06098), two low-rank products multiplied elementwise.
LoKr: Yeh et al. 2023 (https://arxiv.org/abs/2309.14859), a Kronecker product whose second part is of low rank
where that is smaller. Shapes: O outputs, I inputs, K numbers of a kernel, R rank.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
ProductKind = Literal["loha", "lokr"]

_OUTER_STD, _INNER_STD = 0.1, 1.0


def start_product(
    kind: ProductKind, shape: Shape, *, rank: int, factor: int, generator: torch.Generator | None
) -> dict[str, Tensor]:
    """Fresh factors of one layer.

    Args:
        kind: "loha" or "lokr".
        shape: Of the layer's weight, (O, I, ...).
        rank: R.
        factor: Of a LoKr: largest size of its first part; 0 makes both parts as alike as possible.
        generator: Source of the numbers, None for torch's own.

    Returns:
        Float32 tensors by their names in files.
    """
    if kind == "loha":
        return _loha(shape, rank, generator)
    return _lokr(shape, rank, factor, generator)


def _loha(shape: Shape, rank: int, generator: torch.Generator | None) -> dict[str, Tensor]:
    outputs, inputs = shape[0], math.prod(shape[1:])

    def normal(rows: int, columns: int, std: float) -> Tensor:
        return torch.randn(rows, columns, generator=generator) * std

    return {
        "hada_w1_a": normal(outputs, rank, _OUTER_STD),
        "hada_w1_b": normal(rank, inputs, _INNER_STD),
        "hada_w2_a": torch.zeros(outputs, rank),
        "hada_w2_b": normal(rank, inputs, _INNER_STD),
    }


def _lokr(shape: Shape, rank: int, factor: int, generator: torch.Generator | None) -> dict[str, Tensor]:
    (o1, o2), (i1, i2) = split_size(shape[0], factor), split_size(shape[1], factor)
    kernel = shape[2:]

    def kaiming(*sizes: int) -> Tensor:
        tensor = torch.empty(sizes)
        return nn.init.kaiming_uniform_(tensor, a=math.sqrt(5), generator=generator)

    first = {"lokr_w1": kaiming(o1, i1)}
    if rank >= max(o2, i2) / 2:
        return {**first, "lokr_w2": torch.zeros(o2, i2, *kernel)}
    return {
        **first,
        "lokr_w2_a": kaiming(o2, rank),
        "lokr_w2_b": torch.zeros(rank, i2 * math.prod(kernel)),
    }


def split_size(size: int, factor: int) -> tuple[int, int]:
    """Two numbers with a product of `size`, the smaller first.

    Args:
        size: What is split.
        factor: The smaller is the largest divisor up to this; 0 for the most alike.
    """
    most = math.isqrt(size)
    if factor:
        most = min(most, factor)
    small = next(number for number in range(most, 0, -1) if size % number == 0)
    return small, size // small
