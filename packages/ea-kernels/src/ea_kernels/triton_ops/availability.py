"""Whether Triton kernels can run on a device, and if not, why. Imports neither triton nor a device."""

import os
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor


def why_not(device: torch.device) -> str | None:
    """The reason that Triton kernels cannot run on tensors of this device, None when they can.

    With TRITON_INTERPRET=1 in the environment (set before triton is imported) they run in Python on any
    device: for tests, far too slow for anything else.
    """
    if not _installed():
        return "triton is not installed"
    if interpreted():
        return None
    if device.type != "cuda":
        return (
            f"it needs a CUDA device (or TRITON_INTERPRET=1, for tests), and tensors are on {device.type!r}"
        )
    if _capability(device.index) < (8, 0):
        return "Triton kernels need a GPU of compute capability 8.0 or newer"
    return None


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@cache
def _installed() -> bool:
    return find_spec("triton") is not None


@cache
def _capability(index: int | None) -> tuple[int, int]:
    return torch.cuda.get_device_capability(index)


BACKENDS = ("auto", "torch", "triton", "reference")
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def resolve_backend(name: str, x: Tensor) -> str:
    """What computes an op on x: "torch", "triton" or "reference".

    "auto" is Triton on a GPU that has it, and torch elsewhere and while a compiler traces (it fuses such ops
    itself).

    Raises:
        ValueError: For an unknown name, and for "triton" where it cannot run.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r} is not available; choose one of: {', '.join(BACKENDS)}")
    if name == "triton":
        reason = why_not(x.device)
        if reason is None and x.dtype not in _DTYPES:
            reason = f"kernels take float32, float16 and bfloat16, got {x.dtype}"
        if reason is not None:
            raise ValueError(f"backend 'triton' is not available: {reason}")
        return name
    if name != "auto":
        return name
    wanted = x.is_cuda and x.numel() > 0 and x.dtype in _DTYPES and not torch.compiler.is_compiling()
    return "triton" if wanted and why_not(x.device) is None else "torch"
