"""Which kernels of this package were measured to be faster than the libraries, and where.

The table is data, `measured.json`. A kernel that it does not name is correct in tests, but nobody has seen it
win on a device, so the automatic choice passes over it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Self

import torch

TABLE = "measured.json"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One kernel that won on one kind of device.

    Attributes:
        kernel: Name of the op.
        capability: Compute capability of the device.
        dtypes: Number types that it was measured with.
        gain: How many times faster than `against`.
        against: The library kernel that was the best until then.
        source: Device, versions, and the file with the result.
    """

    kernel: str
    capability: tuple[int, int]
    dtypes: tuple[torch.dtype, ...]
    gain: float
    against: str
    source: str

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Self:
        """Reads an entry of the table.

        Raises:
            ValueError: If it is not one, or did not win.
        """
        wanted = set(cls.__dataclass_fields__)
        if set(entry) != wanted:
            raise ValueError(f"{TABLE}: an entry has {sorted(wanted)}, got {sorted(entry)}")
        names: list[str] = list(entry["dtypes"])
        dtypes = tuple(getattr(torch, name, None) for name in names)
        if not dtypes or not all(isinstance(dtype, torch.dtype) for dtype in dtypes):
            raise ValueError(f"{TABLE}: dtypes must be names of torch's number types, got {names}")
        if not float(entry["gain"]) > 1:
            raise ValueError(
                f"{TABLE}: {entry['kernel']} must have a gain above 1 to be named, got {entry['gain']}"
            )
        major, minor = entry["capability"]
        return cls(**{**entry, "capability": (int(major), int(minor)), "dtypes": dtypes})


@cache
def measurements() -> tuple[Measurement, ...]:
    """The table."""
    text = resources.files("ea_kernels.triton_ops").joinpath(TABLE).read_text(encoding="utf-8")
    return tuple(Measurement.from_dict(entry) for entry in json.loads(text)["kernels"])


def faster(kernel: str, capability: tuple[int, int], dtype: torch.dtype) -> Measurement | None:
    """The measurement that lets the automatic choice take a kernel, None if there is none."""
    found = (
        m for m in measurements() if (m.kernel, m.capability) == (kernel, capability) and dtype in m.dtypes
    )
    return next(found, None)
