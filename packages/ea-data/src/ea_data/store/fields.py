"""One array of a sample with the number type that it stands for.

numpy has no bfloat16. Such numbers are kept as their 16 bits (uint16), and `dtype` says what they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CODES", "Field", "FieldLayout", "Layout", "layout_bytes", "layout_of"]

CODES: Final = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
    "bool": "BOOL",
}  # fmt: skip
"""Number types that a sample may have, and what safetensors calls them."""

_DTYPES: Final = {
    name: np.dtype("uint16" if name == "bfloat16" else name).newbyteorder("<") for name in CODES
}


class FieldLayout(NamedTuple):
    """Name, number type and shape of one field."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The type of the numpy array, little-endian."""
        return _DTYPES[self.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.numpy_dtype.itemsize


Layout = tuple[FieldLayout, ...]
"""The fields of a sample, sorted by name."""


@dataclass(frozen=True, eq=False)
class Field:
    """One array of a sample.

    Attributes:
        values: C-contiguous, no empty dimension; uint16 where `dtype` is bfloat16.
        dtype: A name of `CODES`; that of `values` when it is left out.

    Raises:
        ValueError: A type that is not in `CODES`, one that does not fit `values`, or an empty array.
    """

    values: NDArray[Any]
    dtype: str = ""

    def __post_init__(self) -> None:
        """Check type and shape."""
        if not self.dtype:
            object.__setattr__(self, "dtype", self.values.dtype.name)
        if self.dtype not in CODES:
            raise ValueError(f"fields: number type {self.dtype!r}; allowed: {', '.join(CODES)}")
        stored, expected = self.values.dtype, _DTYPES[self.dtype]
        if stored != expected and stored.name != expected.name:  # of the other byte order is as good
            raise ValueError(f"fields: {self.dtype} cannot be kept in an array of {stored}")
        if not self.values.size:
            raise ValueError(f"fields: an array of shape {self.values.shape} is empty")

    @classmethod
    def bfloat16(cls, values: NDArray[Any]) -> Self:
        """Real numbers rounded to bfloat16, ties to even; NaN stays NaN."""
        real = np.ascontiguousarray(values, np.float32)
        bits = real.view(np.uint32)
        rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
        quiet_nan = (bits >> 16) | 0x40
        return cls(np.where(np.isnan(real), quiet_nan, rounded).astype(np.uint16), "bfloat16")

    @classmethod
    def from_torch(cls, tensor: Tensor) -> Self:
        """A tensor of any device, copied if it is not contiguous on the CPU.

        Raises:
            ValueError: A type that is not in `CODES`.
        """
        import torch  # noqa: PLC0415  (only callers that have tensors need it)

        plain = tensor.detach().cpu().contiguous()
        if plain.dtype == torch.bfloat16:
            return cls(plain.view(torch.uint16).numpy(), "bfloat16")
        if str(plain.dtype).removeprefix("torch.") not in CODES:
            raise ValueError(f"fields: number type {plain.dtype}; allowed: {', '.join(CODES)}")
        return cls(plain.numpy())

    def to_torch(self) -> Tensor:
        """The same memory as a tensor."""
        import torch  # noqa: PLC0415

        tensor = torch.from_numpy(self.values)
        return tensor.view(torch.bfloat16) if self.dtype == "bfloat16" else tensor

    def to_numpy(self) -> NDArray[Any]:
        """The numbers themselves: float32 where they are bfloat16, `values` otherwise."""
        if self.dtype != "bfloat16":
            return self.values
        return (self.values.astype(np.uint32) << 16).view(np.float32)


def layout_bytes(layout: Layout) -> int:
    """Bytes of the arrays of one sample."""
    return sum(entry.nbytes for entry in layout)


def layout_of(fields: dict[str, Field]) -> Layout:
    """Names, types and shapes, sorted by name."""
    return tuple(FieldLayout(name, fields[name].dtype, fields[name].values.shape) for name in sorted(fields))
