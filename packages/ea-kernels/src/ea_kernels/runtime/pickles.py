"""Weights in pickles, read without running what is in them: `torch.load(weights_only=True)`, nothing else.

A pickle can name any function to be called while it is read. Of those, only the ones that rebuild tensors and
plain containers are known here; a file that names another is refused.
"""

import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

DTYPE_NAMES: Mapping[torch.dtype, str] = MappingProxyType(
    {
        torch.bool: "BOOL",
        torch.uint8: "U8",
        torch.int8: "I8",
        torch.float8_e4m3fn: "F8_E4M3",
        torch.float8_e5m2: "F8_E5M2",
        torch.int16: "I16",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.int32: "I32",
        torch.float32: "F32",
        torch.int64: "I64",
        torch.float64: "F64",
    }
)
"""Number types as safetensors names them."""

_ARCHIVE = b"PK"
SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
# Whatever bytes of a damaged file make of torch's reader: its messages span a page, and advise to switch the
# protection off.
_DAMAGE = (
    AssertionError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


def is_pickle(path: Path) -> bool:
    """Whether a file is in one of the pickle formats, judged by its name."""
    return path.suffix in SUFFIXES


def has_table(file: Path) -> bool:
    """Whether a pickle is in today's format, an archive, of which tensors are found without reading the rest.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(len(_ARCHIVE)) == _ARCHIVE
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from None


def read_pickle(file: Path) -> dict[str, Tensor]:
    """Reads the tensors of a pickle; files of today's format are mapped into memory, not copied.

    Args:
        file: A dictionary of tensors, or one that has such a dictionary as its `state_dict`.

    Raises:
        ValueError: If it is damaged, names code to be run, or holds something else.
    """
    mapped = zipfile.is_zipfile(file)
    try:
        with warnings.catch_warnings(action="ignore"):  # what it doubts is either read or refused
            content: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except _DAMAGE as error:
        what = "it names code to be run" if "GLOBAL " in str(error) else "it is damaged or cut off"
        raise ValueError(f"{file}: not a plain dictionary of tensors: {what}") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(_is_plain(*entry) for entry in state.items()):
        raise ValueError(f"{file}: not a plain dictionary of tensors")
    return {name: tensor.detach() for name, tensor in state.items()}


def _is_plain(name: object, value: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.dtype in DTYPE_NAMES
    )
