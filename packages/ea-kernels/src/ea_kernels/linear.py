"""How the layers of a memory mode with eight bits compute: chosen once, when they are made.

By default they restore their weights and multiply in the working dtype: the only loss is that of the weights.
The other ways multiply in eight bits and round the activations too, row by row. They are approximate by
nature and therefore never chosen unasked: an argument or the environment variable EA_LINEAR names one, and a
name that cannot compute on the device is an error that says why.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from ea_kernels.quantised import multiplies_float8, multiplies_int8, scaled_linear
from ea_kernels.rounding import rounded
from ea_kernels.runtime.eight_bits import FLOAT8, RESTORED, Activations, Arithmetic, Rounding
from ea_kernels.triton_ops.availability import why_not

__all__ = ["ENVIRONMENT", "NAMES", "LinearChoice", "choose_arithmetic", "choose_linear", "describe_linear"]

ENVIRONMENT = "EA_LINEAR"


@dataclass(frozen=True)
class LinearChoice:
    """What computes the layers, and why that.

    Attributes:
        arithmetic: What layers are made with.
        reason: Half a line.
    """

    arithmetic: Arithmetic
    reason: str

    @property
    def name(self) -> str:
        """One of `NAMES`, without "auto"."""
        return self.arithmetic.name


@dataclass(frozen=True)
class _EightBitProduct:
    """The `Product` of rounded activations; a backend of `ops.scaled_linear` multiplies."""

    rounding: Rounding
    backend: str

    def __call__(self, x: Activations, weight8_OI: Tensor, scale_O1: Tensor, bias_O: Tensor | None) -> Tensor:
        rows = rounded(x, self.rounding)
        operands = (rows.eight, rows.scale, weight8_OI, scale_O1, bias_O)
        return scaled_linear(*operands, dtype=rows.dtype, backend=self.backend)


def _none(device: torch.device) -> str | None:  # noqa: ARG001
    return None


def _float8(device: torch.device) -> str | None:
    if multiplies_float8(device):
        return None
    return f"it needs a GPU of compute capability 8.9 or newer, weights are used on {device.type!r}"


def _int8(device: torch.device) -> str | None:
    if multiplies_int8(device):
        return None
    return f"it needs a GPU of compute capability 7.5 or newer, or a CPU with VNNI; used on {device.type!r}"


def _triton_float8(device: torch.device) -> str | None:
    return why_not(device) or (_float8(device) if device.type == "cuda" else None)


def _eight_bits(name: str, dtype: torch.dtype, backend: str) -> Arithmetic:
    # Any kernel may round: the eight bits are the same. The name tells what multiplies.
    rounding = Rounding(dtype, "triton" if backend == "triton" else "auto")
    return Arithmetic(dtype, _EightBitProduct(rounding, backend), name, rounding)


_WAYS: Mapping[str, tuple[Arithmetic, Callable[[torch.device], str | None]]] = MappingProxyType(
    {
        "restored": (RESTORED, _none),
        "float8": (_eight_bits("float8", FLOAT8, "torch"), _float8),
        "int8": (_eight_bits("int8", torch.int8, "torch"), _int8),
        "float8-triton": (_eight_bits("float8-triton", FLOAT8, "triton"), _triton_float8),
        "int8-triton": (_eight_bits("int8-triton", torch.int8, "triton"), why_not),
    }
)
NAMES = ("auto", *_WAYS)


def choose_linear(device: torch.device, name: str = "auto") -> LinearChoice:
    """Chooses how layers with eight bits compute on a device.

    Args:
        device: Where they are used.
        name: One of `NAMES`; "auto" is what EA_LINEAR names, else "restored".

    Raises:
        ValueError: For a name that is not known, or one that cannot compute there.
    """
    source, prefix = "asked for by name", ""
    if name == "auto":
        name = os.environ.get(ENVIRONMENT) or "auto"
        source, prefix = f"asked for by {ENVIRONMENT}", f"{ENVIRONMENT}: "
    if name == "auto":
        return LinearChoice(RESTORED, "what rounds activations too is never chosen unasked")
    if name not in _WAYS:
        raise ValueError(f"{prefix}linear {name!r} is not available; choose one of: {', '.join(NAMES)}")
    arithmetic, obstacle = _WAYS[name]
    if (reason := obstacle(device)) is not None:
        raise ValueError(f"{prefix}linear {name!r} is not available: {reason}")
    return LinearChoice(arithmetic, source)


def choose_arithmetic(device: torch.device) -> Arithmetic:
    """What `choose_linear` chooses by itself, for `ea_kernels.runtime.placement.plan`."""
    return choose_linear(device).arithmetic


def describe_linear(device: torch.device) -> tuple[LinearChoice, dict[str, str]]:
    """What layers with eight bits would compute with, and why not with each of the others.

    Raises:
        ValueError: If EA_LINEAR names what cannot compute there.
    """
    chosen = choose_linear(device)
    others = {
        name: obstacle(device) or _free_choice(name)
        for name, (_, obstacle) in _WAYS.items()
        if name != chosen.name
    }
    return chosen, others


def _free_choice(name: str) -> str:
    return "could be asked for" + ("" if name == "restored" else "; rounds activations too")
