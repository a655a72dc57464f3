"""What an attention backend is."""

from typing import Protocol

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
