"""The choice of the attention backend: once per class of shapes, by name, by EA_ATTENTION, or automatic.

A name (an argument, else the environment variable EA_ATTENTION) that cannot compute what is asked is an error
that says why; only the automatic choice may pass over a backend. Order of the automatic choice on a GPU: the
Triton kernel where it was measured to be the fastest (`triton_ops/measured.json`), flash-attn 3 where it is
installed, else what torch prefers (cuDNN first on compute capability 9.0 in recent versions).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend

from ea_kernels.attention.flash import MODULES, flash2, flash3, installed
from ea_kernels.attention.fused import attention as triton_attention
from ea_kernels.attention.sdpa import attention as torch_attention
from ea_kernels.attention.sdpa import only
from ea_kernels.attention.spec import AttentionFunction, AttentionShape, kind_of_mask
from ea_kernels.reference.attention import attention as reference_attention
from ea_kernels.triton_ops.availability import why_not
from ea_kernels.triton_ops.measured import faster

ENVIRONMENT = "EA_ATTENTION"


@dataclass(frozen=True)
class Choice:
    """What computes an attention, and why that.

    Attributes:
        name: Of the backend.
        function: The backend.
        reason: Half a line.
    """

    name: str
    function: AttentionFunction
    reason: str


@dataclass(frozen=True)
class _Backend:
    function: AttentionFunction
    obstacle: Callable[[AttentionShape], str | None]


def _none(shape: AttentionShape) -> str | None:  # noqa: ARG001
    return None


def _flash_package(name: str, capability: tuple[int, int]) -> Callable[[AttentionShape], str | None]:
    def obstacle(shape: AttentionShape) -> str | None:
        if not installed(name):
            return f"{MODULES[name]} is not installed"
        if name == "flash3" and shape.capability[0] != capability[0]:
            return "it needs a GPU of compute capability 9.x"
        return _fast_cuda(shape, capability) or _no_mask(shape) or _head_dim(shape, 256)

    return obstacle


def _fast_cuda(shape: AttentionShape, capability: tuple[int, int]) -> str | None:
    if shape.device != "cuda":
        return f"tensors are on {shape.device!r}, it needs a CUDA device"
    if shape.capability < capability:
        return f"it needs a GPU of compute capability {capability[0]}.{capability[1]} or newer"
    if shape.dtype not in (torch.float16, torch.bfloat16):
        return f"it takes float16 and bfloat16, got {shape.dtype}"
    return None


def _no_mask(shape: AttentionShape) -> str | None:
    return None if shape.mask == "none" else "it takes no mask"


def _head_dim(shape: AttentionShape, most: int) -> str | None:
    if shape.head_dim > most or shape.head_dim % 8:
        return f"it takes head widths up to {most} in eights, got {shape.head_dim}"
    return None


def _cudnn(shape: AttentionShape) -> str | None:
    return _fast_cuda(shape, (8, 0)) or _head_dim(shape, 128)


def _torch_flash(shape: AttentionShape) -> str | None:
    return _fast_cuda(shape, (8, 0)) or _no_mask(shape) or _head_dim(shape, 256)


def _efficient(shape: AttentionShape) -> str | None:
    return None if shape.device == "cuda" else f"tensors are on {shape.device!r}, it needs a CUDA device"


def _triton(shape: AttentionShape) -> str | None:
    if shape.mask == "any":
        return "it takes no mask but a boolean one over keys"
    if not 16 <= shape.head_dim <= 128:
        return f"it takes head widths of 16 to 128, got {shape.head_dim}"
    if shape.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"it takes float32, float16 and bfloat16, got {shape.dtype}"
    return why_not(torch.device(shape.device))


_BACKENDS: dict[str, _Backend] = {
    "torch": _Backend(torch_attention, _none),
    "flash3": _Backend(flash3, _flash_package("flash3", (9, 0))),
    "flash2": _Backend(flash2, _flash_package("flash2", (8, 0))),
    "cudnn": _Backend(only(SDPBackend.CUDNN_ATTENTION), _cudnn),
    "torch-flash": _Backend(only(SDPBackend.FLASH_ATTENTION), _torch_flash),
    "efficient": _Backend(only(SDPBackend.EFFICIENT_ATTENTION), _efficient),
    "triton": _Backend(triton_attention, _triton),
    "reference": _Backend(reference_attention, _none),
}
BACKENDS = ("auto", *_BACKENDS)


def shape_of(q: Tensor, mask: Tensor | None) -> AttentionShape:
    """The class of shapes that a call belongs to."""
    capability = torch.cuda.get_device_capability(q.device) if q.is_cuda else (0, 0)
    return AttentionShape(q.device.type, capability, q.dtype, q.shape[-1], kind_of_mask(mask))


def choose(shape: AttentionShape, backend: str = "auto", *, strict: bool = True) -> Choice:
    """Chooses the backend of a class of shapes.

    Args:
        shape: What is to be computed.
        backend: A name, or "auto" for that in EA_ATTENTION, else the best one.
        strict: Whether a name that cannot compute it is an error; otherwise "auto" takes its place.

    Raises:
        ValueError: For a name that is not known, or one that cannot compute it.
    """
    source = "asked for by name"
    if backend == "auto":
        backend = os.environ.get(ENVIRONMENT, "") or "auto"
        source = f"asked for by {ENVIRONMENT}"
    return _choose(shape, backend, source, strict)


@cache
def _choose(shape: AttentionShape, backend: str, source: str, strict: bool) -> Choice:  # noqa: FBT001
    if backend == "auto":
        return _automatic(shape)
    prefix = f"{ENVIRONMENT}: " if ENVIRONMENT in source else ""
    if backend not in _BACKENDS:
        allowed = ", ".join(BACKENDS)
        raise ValueError(f"{prefix}attention backend {backend!r} is not available; choose one of: {allowed}")
    obstacle = _BACKENDS[backend].obstacle(shape)
    if obstacle is None:
        return Choice(backend, _BACKENDS[backend].function, source)
    if strict:
        raise ValueError(f"{prefix}attention backend {backend!r} is not available: {obstacle}")
    return _automatic(shape)


def _automatic(shape: AttentionShape) -> Choice:
    plain = _BACKENDS["torch"]
    if shape.device != "cuda":
        return Choice("torch", plain.function, f"torch's fused kernel is the fastest on {shape.device!r}")
    measured = faster("attention", shape.capability, shape.dtype)
    if measured is not None and _triton(shape) is None:
        reason = f"measured {measured.gain:g} times as fast as {measured.against} ({measured.source})"
        return Choice("triton", triton_attention, reason)
    obstacle = _BACKENDS["flash3"].obstacle(shape)
    if obstacle is None:
        return Choice("flash3", flash3, "flash-attn 3 is installed and takes these shapes")
    return Choice("torch", plain.function, f"torch orders its own kernels; flash3: {obstacle}")


def resolve_attention(backend: str = "auto") -> AttentionFunction:
    """Returns the attention function of a backend, which chooses per class of shapes when it is called.

    Args:
        backend: One of `BACKENDS`.

    Raises:
        ValueError: For a name that is not known, at once; when called, for what that backend cannot compute.
    """
    if backend not in BACKENDS:
        allowed = ", ".join(BACKENDS)
        raise ValueError(f"attention backend {backend!r} is not available; choose one of: {allowed}")

    def attend(
        q_BLHD: Tensor,
        k_BSHD: Tensor,
        v_BSHD: Tensor,
        *,
        mask: Tensor | None = None,
        scale: float | None = None,
    ) -> Tensor:
        if torch.compiler.is_compiling() and backend == "auto" and not os.environ.get(ENVIRONMENT):
            return torch_attention(q_BLHD, k_BSHD, v_BSHD, mask=mask, scale=scale)  # compilers know no caches
        chosen = choose(shape_of(q_BLHD, mask), backend)
        return chosen.function(q_BLHD, k_BSHD, v_BSHD, mask=mask, scale=scale)

    return attend


def describe(
    device: torch.device, dtype: torch.dtype, head_dim: int = 64, backend: str = "auto"
) -> tuple[Choice, dict[str, str]]:
    """What would compute attention without a mask, and why each other backend would not or could not.

    Raises:
        ValueError: If EA_ATTENTION or `backend` names what cannot compute it.
    """
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    shape = AttentionShape(device.type, capability, dtype, head_dim)
    chosen = choose(shape, backend)
    others = {
        name: entry.obstacle(shape) or _free_choice(name)
        for name, entry in _BACKENDS.items()
        if name != chosen.name
    }
    return chosen, others


def _free_choice(name: str) -> str:
    return "could be asked for" + ("; never chosen unmeasured" if name == "triton" else "")
