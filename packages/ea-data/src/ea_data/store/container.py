"""Writing and reading safetensors files by byte ranges.

The format is eight bytes with the length of the header, a JSON header, and the bytes of the tensors
(https://huggingface.co/docs/safetensors). The library's numpy side cannot name bfloat16, wants every tensor
in one piece, and maps files into memory, where a file that became shorter ends the process. Here rows are
written as they come, and ranges are read with `pread`, which answers such a file with fewer bytes.
"""

import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ea_data.store.fields import CODES, FieldLayout

__all__ = ["Span", "TensorRows", "header_of", "header_size", "publish", "write_container"]

_ALIGNMENT: Final = 64
_LENGTH: Final = struct.Struct("<Q")
_LARGEST_HEADER: Final = 100_000_000  # the format's own bound


class TensorRows(NamedTuple):
    """A tensor to write: its rows lie one after the other, whatever their number."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    rows: Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Span:
    """Where a tensor lies in a file, in bytes from its beginning."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def write_container(
    file: BinaryIO, tensors: Sequence[TensorRows], metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, Span]]:
    """Write a safetensors file.

    Returns:
        The header as it was written, with its length before it, and where every tensor lies.
    """
    described: dict[str, Any] = {"__metadata__": dict(metadata)}
    stop = 0
    for tensor in tensors:
        start, stop = stop, stop + sum(row.nbytes for row in tensor.rows)
        described[tensor.name] = {
            "dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, stop],
        }  # fmt: skip
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + _LENGTH.size) % _ALIGNMENT)
    header = _LENGTH.pack(len(text)) + text
    file.write(header)
    for tensor in tensors:
        for row in tensor.rows:
            file.write(row.reshape(-1).view(np.uint8).data)
    return header, _spans(described, len(header))


def header_size(beginning: bytes) -> int:
    """Bytes of a header with the length before it, told by its first eight.

    Raises:
        ValueError: There are fewer, or the length is not one.
    """
    if len(beginning) < _LENGTH.size:
        raise ValueError("the file is shorter than a header")
    (length,) = _LENGTH.unpack_from(beginning)
    if not 2 <= length <= _LARGEST_HEADER:
        raise ValueError("the length of the header is wrong")
    return _LENGTH.size + length


def header_of(beginning: bytes) -> tuple[dict[str, str], dict[str, Span]]:
    """Read the header that a file begins with.

    Returns:
        Metadata, and where every tensor lies.

    Raises:
        ValueError: It is not whole, or not a header.
    """
    size = header_size(beginning)
    if len(beginning) < size:
        raise ValueError("the header is cut off")
    try:
        described = json.loads(beginning[_LENGTH.size : size])
        metadata = described.get("__metadata__", {})
        return metadata, _spans(described, size)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError("the header cannot be read") from error


def publish(temporary: Path, final: Path) -> None:
    """Give a finished file its name, once it is on the disk; the name too is on the disk after that."""
    temporary.replace(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _spans(described: Mapping[str, Any], base: int) -> dict[str, Span]:
    """Where tensors lie, one after the other without gaps; ValueError and the like if they do not."""
    names = {code: name for name, code in CODES.items()}
    spans: dict[str, Span] = {}
    end = 0
    for name, entry in described.items():
        if name != "__metadata__":
            layout = FieldLayout(name, names[entry["dtype"]], tuple(entry["shape"]))
            start, stop = entry["data_offsets"]
            if (start, stop) != (end, end + layout.nbytes):
                raise ValueError(f"{name} lies where it cannot")
            end = stop
            spans[name] = Span(layout.dtype, layout.shape, base + start, base + stop)
    return spans
