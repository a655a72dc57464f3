"""Whether Triton kernels can run on a device, and if not, why. Imports neither triton nor a device."""

import os
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from ea_kernels.triton_ops.measured import faster


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
ENVIRONMENT = "EA_KERNELS"
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def resolve_backend(name: str, x: Tensor, kernel: str) -> str:
    """What computes an op on x: "torch", "triton" or "reference".

    "auto" is what the environment variable EA_KERNELS names, else Triton where its kernel was measured to be
    faster (see `measured`), else torch; and torch while a compiler traces, which fuses such ops itself.

    Args:
        name: One of `BACKENDS`.
        x: What the op is of.
        kernel: Name of the op.

    Raises:
        ValueError: For an unknown name, and for "triton" where it cannot run.
    """
    _check_name(name, "backend")
    if name == "auto":
        if torch.compiler.is_compiling():
            return "torch"
        name = os.environ.get(ENVIRONMENT) or "auto"
        _check_name(name, ENVIRONMENT)
    if name == "triton":
        reason = why_not(x.device)
        if reason is None and x.dtype not in _DTYPES:
            reason = f"kernels take float32, float16 and bfloat16, got {x.dtype}"
        if reason is not None:
            raise ValueError(f"backend 'triton' is not available: {reason}")
    if name != "auto":
        return name
    return "triton" if _measured(x, kernel) else "torch"


def _check_name(name: str, field: str) -> None:
    if name not in BACKENDS:
        raise ValueError(f"{field} {name!r} is not available; choose one of: {', '.join(BACKENDS)}")


def _measured(x: Tensor, kernel: str) -> bool:
    if not x.is_cuda or x.numel() == 0 or why_not(x.device) is not None:
        return False
    return faster(kernel, _capability(x.device.index), x.dtype) is not None
