"""The released memory modes: their names, what they mean, and which one fits a device."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import nn

from ea_kernels.runtime.placement_moves import weight_bytes

MemoryMode = Literal[
    "model_full_load",
    "model_cpu_offload",
    "model_cpu_offload_and_qfloat8",
    "sequential_cpu_offload",
    "low_gpu_memory_mode",
]
"""The released names, from most to least memory on the device."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a memory mode means.

    Attributes:
        resident: Every component stays on the device; otherwise it is at home, on the CPU, unless it is used.
        by_block: Of a component in use, blocks come one at a time.
        float8: The denoiser stores its blocks in eight bits.
    """

    resident: bool = False
    by_block: bool = False
    float8: bool = False


POLICIES: Mapping[MemoryMode, Policy] = MappingProxyType(
    {
        "model_full_load": Policy(resident=True),
        "model_cpu_offload": Policy(),
        "model_cpu_offload_and_qfloat8": Policy(float8=True),
        "sequential_cpu_offload": Policy(by_block=True),
        # The switch of V3 and V4, which turned the same on.
        "low_gpu_memory_mode": Policy(by_block=True),
    }
)

SHARE_FOR_WEIGHTS = 0.75
"""Of the free memory; the rest is for activations."""


@dataclass(frozen=True)
class Choice:
    """A memory mode that was chosen for the user.

    Attributes:
        mode: Its name.
        reason: One line that says what was compared; empty when there was nothing to choose.
    """

    mode: MemoryMode
    reason: str


def resolve_mode(name: str) -> MemoryMode:
    """The mode of a name.

    Raises:
        ValueError: There is none.
    """
    for mode in get_args(MemoryMode):
        if name == mode:
            return mode
    raise ValueError(f"memory must be one of auto, {', '.join(get_args(MemoryMode))}; got {name!r}")


def choose_mode(
    components: Mapping[str, nn.Module], device: torch.device, *, free_bytes: int | None = None
) -> Choice:
    """The mode that needs the fewest moves and fits; one that changes no numbers.

    Args:
        components: By name; weights may be on meta.
        device: Where they will be used.
        free_bytes: Memory of a GPU that may be used, None for what is free now.
    """
    if device.type != "cuda":
        return Choice("model_full_load", "")
    free = torch.cuda.mem_get_info(device)[0] if free_bytes is None else free_bytes
    sizes = {name: weight_bytes(component.modules()) for name, component in components.items()}
    total, largest = sum(sizes.values()), max(sizes.values(), default=0)
    mode: MemoryMode = "sequential_cpu_offload"
    if total <= free * SHARE_FOR_WEIGHTS:
        mode = "model_full_load"
    elif largest <= free * SHARE_FOR_WEIGHTS:
        mode = "model_cpu_offload"
    weights = f"the weights take {gigabytes(total)}, the largest part {gigabytes(largest)}"
    return Choice(
        mode, f"{weights}; three quarters of {gigabytes(free)} that are free on {device} are for them"
    )


def gigabytes(count: int) -> str:
    """Bytes in words."""
    return f"{count / 1e9:.1f} GB"
