"""Whether Triton kernels can run on a device, and if not, why. Imports neither triton nor a device."""

import os
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from ea_kernels.triton_ops.measured import faster, measurements


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
    field = "backend"
    _check_name(name, field)
    if name == "auto":
        if torch.compiler.is_compiling():
            return "torch"
        name, field = os.environ.get(ENVIRONMENT) or "auto", ENVIRONMENT
        _check_name(name, field)
    if name == "triton":
        reason = why_not(x.device)
        if reason is None and x.dtype not in _DTYPES:
            reason = f"kernels take float32, float16 and bfloat16, got {x.dtype}"
        if reason is not None:
            raise ValueError(f"{field} 'triton' is not available: {reason}")
    if name != "auto":
        return name
    return "triton" if _measured(x, kernel) else "torch"


def describe_kernels(device: torch.device, dtype: torch.dtype) -> tuple[str, str]:
    """What computes norms, modulations and the other ops of `ea_kernels.ops` but attention, and why.

    Returns:
        A backend, or several that share the ops, and half a line.

    Raises:
        ValueError: If EA_KERNELS names what cannot compute there.
    """
    asked = os.environ.get(ENVIRONMENT) or "auto"
    if asked != "auto":
        name = resolve_backend("auto", torch.empty(0, dtype=dtype, device=device), "")
        return name, f"asked for by {ENVIRONMENT}"
    if (obstacle := why_not(device)) is not None:
        return "torch", f"triton: {obstacle}"
    if device.type != "cuda":
        return "torch", "Triton's interpreter is for tests"
    won = [m for m in measurements() if m.capability == _capability(device.index) and dtype in m.dtypes]
    if not won:
        return "torch", "no Triton kernel was measured to be faster on this kind of device"
    return (
        "triton and torch",
        f"Triton, where it was measured to be faster: {', '.join(m.kernel for m in won)}",
    )


def _check_name(name: str, field: str) -> None:
    if name not in BACKENDS:
        raise ValueError(f"{field} {name!r} is not available; choose one of: {', '.join(BACKENDS)}")


def _measured(x: Tensor, kernel: str) -> bool:
    if not x.is_cuda or x.numel() == 0 or why_not(x.device) is not None:
        return False
    return faster(kernel, _capability(x.device.index), x.dtype) is not None
