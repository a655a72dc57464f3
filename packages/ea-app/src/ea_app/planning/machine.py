"""What is computed on, found out without loading torch."""

import json
import os
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ea_app.options import InputError

_DRIVER = Path("/proc/driver/nvidia/gpus")
_MEMORY = Path("/proc/meminfo")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A device and its speed.

    Attributes:
        name: Such as "NVIDIA H200", or "cpu".
        cores: Cores of a CPU that may be used; 1 for a GPU.
        tera: 1e12 operations a second of the device, or of one core.
        block_seconds: What a block of a network costs beside its arithmetic.
        gigabytes: Memory that is free for it; 0 if that is not known.
        base_gigabytes: Memory of a process before any weight.
        source: Where its speed is from.
    """

    name: str
    cores: int
    tera: float
    block_seconds: float
    gigabytes: float
    base_gigabytes: float
    source: str

    @property
    def is_cpu(self) -> bool:
        """Whether it is no GPU."""
        return self.name == "cpu"

    @property
    def flops_per_second(self) -> float:
        """Of all cores."""
        return self.tera * 1e12 * self.cores


def find_machine(device: str = "auto") -> Machine:
    """The machine that a device name means here.

    Args:
        device: "auto", "cpu", "cuda", "cuda:N", or the name of a GPU that need not be here, such as "H200".

    Raises:
        InputError: If it is none of these, or a GPU whose speed is not known.
    """
    present = _gpus()
    if device == "cpu" or (device == "auto" and not present):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return Machine(name="cpu", cores=cores, **{**_speeds()["cpu"], "gigabytes": _free_gigabytes()})
    if device == "auto" or device.startswith("cuda"):
        index = device.partition(":")[2] or "0"
        if not index.isdigit() or int(index) >= len(present):
            raise InputError("device", f"there is no {device!r} here; give cpu, or one of: {_names()}")
        device = present[int(index)]
    found = [name for name in _speeds() if name != "cpu" and name.split()[-1].lower() in device.lower()]
    if not found:
        raise InputError("device", f"the speed of {device!r} is not known; give cpu, or one of: {_names()}")
    name = max(found, key=len)
    return Machine(name=name, cores=1, **_speeds()[name])


@cache
def _speeds() -> dict[str, dict[str, Any]]:
    text = resources.files("ea_app.planning").joinpath("speeds.json").read_text(encoding="utf-8")
    return json.loads(text)["devices"]


def _names() -> str:
    return ", ".join(name.removeprefix("NVIDIA ") for name in _speeds() if name != "cpu")


def _gpus() -> list[str]:
    """Names of the GPUs that the driver shows, in its order."""
    if not _DRIVER.is_dir():
        return []
    lines = [
        line
        for folder in sorted(_DRIVER.iterdir())
        for line in (folder / "information").read_text(encoding="utf-8").splitlines()
    ]
    return [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]


def _free_gigabytes() -> float:
    if not _MEMORY.exists():
        return 0.0
    lines = dict(line.split(":", 1) for line in _MEMORY.read_text(encoding="utf-8").splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 / 1e9
