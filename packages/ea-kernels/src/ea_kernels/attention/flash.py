"""Attention by the flash-attn packages, version 3 (`flash_attn_interface`) or 2 (`flash_attn`)."""

import importlib
from importlib.util import find_spec

from torch import Tensor

MODULES = {"flash3": "flash_attn_interface", "flash2": "flash_attn"}


def installed(name: str) -> bool:
    """Whether the package of "flash3" or "flash2" is there; it is not imported."""
    return find_spec(MODULES[name]) is not None


def flash3(
    q_BLHD: Tensor,
    k_BSHD: Tensor,
    v_BSHD: Tensor,
    *,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """By version 3; takes no mask."""
    return _call("flash3", q_BLHD, k_BSHD, v_BSHD, mask, scale)


def flash2(
    q_BLHD: Tensor,
    k_BSHD: Tensor,
    v_BSHD: Tensor,
    *,
    mask: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """By version 2; takes no mask."""
    return _call("flash2", q_BLHD, k_BSHD, v_BSHD, mask, scale)


def _call(name: str, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    assert mask is None  # the choice refuses masks
    out = importlib.import_module(MODULES[name]).flash_attn_func(q, k, v, softmax_scale=scale)
    return out[0] if isinstance(out, tuple) else out  # early releases of version 3 return (out, lse)
