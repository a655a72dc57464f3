"""What can be asked of attention, and what an attention backend is."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class AttentionFunction(Protocol):
    """softmax(q k^T * scale) v over (B, L, H, D) tensors; `mask` as in `ea_kernels.reference.attention`."""

    def __call__(  # noqa: D102
        self,
        q_BLHD: Tensor,
        k_BSHD: Tensor,
        v_BSHD: Tensor,
        *,
        mask: Tensor | None = None,
        scale: float | None = None,
    ) -> Tensor: ...


@dataclass(frozen=True)
class AttentionShape:
    """What decides which backend can compute an attention, and which should.

    Attributes:
        device: Type of the device: "cpu", "cuda", "meta".
        capability: Compute capability of a CUDA device, (0, 0) elsewhere.
        dtype: Of queries, keys and values.
        head_dim: D.
        mask: "none", "keys" (boolean, the same for all queries and heads) or "any".
    """

    device: str
    capability: tuple[int, int]
    dtype: torch.dtype
    head_dim: int
    mask: str = "none"


def kind_of_mask(mask: Tensor | None) -> str:
    """As `AttentionShape.mask` has it."""
    if mask is None:
        return "none"
    over_keys = mask.dtype == torch.bool and (mask.ndim == 1 or set(mask.shape[-3:-1]) == {1})
    return "keys" if over_keys and mask.ndim in (1, 4) else "any"
