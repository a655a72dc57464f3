"""What weight files hold. Of safetensors the headers tell it: no tensor is read and torch is not asked.

A file is eight bytes with the length of the header, the header in JSON, and the bytes of the tensors. The
library maps whole files into memory, which makes every page that was looked at count as used; whoever copies
or checks tens of gigabytes needs only these places.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ea_kernels.runtime.files import weight_files
from ea_kernels.runtime.pickles import DTYPE_NAMES, has_table, is_pickle, read_pickle

LENGTH_BYTES = 8
METADATA = "__metadata__"
ITEM_SIZES: Mapping[str, int] = MappingProxyType(
    {
        "BOOL": 1,
        "U8": 1,
        "I8": 1,
        "F8_E4M3": 1,
        "F8_E5M2": 1,
        "I16": 2,
        "U16": 2,
        "F16": 2,
        "BF16": 2,
        "I32": 4,
        "U32": 4,
        "F32": 4,
        "I64": 8,
        "U64": 8,
        "F64": 8,
    }
)
"""Bytes of a number by the type's name in the format."""

_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """Where a tensor is.

    Attributes:
        name: As stored.
        dtype: Name of its number type in the format, such as "BF16".
        shape: Its shape.
        file: The file.
        start: Its first byte in the file; 0 in a pickle, where only the unpickler finds it.
        size: Its bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    size: int

    @property
    def count(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)


def read_header(file: str | Path) -> tuple[tuple[StoredTensor, ...], dict[str, str]]:
    """Reads the header of a safetensors file.

    Returns:
        The tensors in the order of the file, and the text metadata.

    Raises:
        ValueError: If the file is missing, damaged, cut off, or uses a number type that is not known.
    """
    file = Path(file)
    try:
        length = file.stat().st_size
        with file.open("rb") as stream:
            header_bytes = int.from_bytes(stream.read(LENGTH_BYTES), "little")
            first = LENGTH_BYTES + header_bytes
            if length < LENGTH_BYTES or first > length or header_bytes > _LONGEST_HEADER:
                raise ValueError(f"{file}: is not a safetensors file or is cut off: {length} bytes")
            content = json.loads(stream.read(header_bytes))
            metadata = dict(content.pop(METADATA, {}))
            entries = [_entry(file, first, name, entry) for name, entry in content.items()]
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from None
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file}: is not a safetensors file ({type(error).__name__} in its header)"
        ) from None
    entries.sort(key=lambda entry: entry.start)
    end = max((entry.start + entry.size for entry in entries), default=first)
    if length < end:
        raise ValueError(f"{file}: is cut off: it has {length} bytes, its header promises {end}")
    return tuple(entries), metadata


def stored_metadata(file: Path) -> dict[str, str]:
    """The text metadata of a weight file; a pickle has none."""
    return {} if is_pickle(file) else read_header(file)[1]


def stored_tensors(path: str | Path, *, allow_pickle: bool = False) -> tuple[StoredTensor, ...]:
    """All tensors of a checkpoint, shard by shard; arguments as for `weight_files`.

    Raises:
        ValueError: As in `weight_files`, `read_header` and `read_pickle`, or if a name is in two shards.
    """
    homes: dict[str, StoredTensor] = {}
    for file in weight_files(path, allow_pickle=allow_pickle):
        for tensor in _pickled(file) if is_pickle(file) else read_header(file)[0]:
            if tensor.name in homes:
                twice = homes[tensor.name].file.name
                raise ValueError(f"{file}: tensor {tensor.name!r} is in {twice} as well")
            homes[tensor.name] = tensor
    return tuple(homes.values())


def check_whole(path: str | Path, *, allow_pickle: bool = False) -> None:
    """Refuses a checkpoint with a file that is missing, damaged or cut off, without reading its tensors.

    A pickle in the format of before torch 1.6 has to be read through to tell, which is left to loading.

    Args:
        path: See `weight_files`, as the next argument.
        allow_pickle: Accept weights in pickles.

    Raises:
        ValueError: As in `stored_tensors`.
    """
    files = weight_files(path, allow_pickle=allow_pickle)
    if all(has_table(file) for file in files if is_pickle(file)):
        stored_tensors(path, allow_pickle=allow_pickle)


def _pickled(file: Path) -> tuple[StoredTensor, ...]:
    return tuple(
        StoredTensor(
            name=name,
            dtype=DTYPE_NAMES[tensor.dtype],
            shape=tuple(tensor.shape),
            file=file,
            start=0,
            size=tensor.numel() * tensor.element_size(),
        )
        for name, tensor in read_pickle(file).items()
    )


def _entry(file: Path, first: int, name: str, entry: Mapping[str, Any]) -> StoredTensor:
    dtype, shape = str(entry["dtype"]), tuple(int(side) for side in entry["shape"])
    start, end = (int(offset) for offset in entry["data_offsets"])
    if dtype not in ITEM_SIZES:
        raise ValueError(f"{file}: tensor {name!r} has the unknown number type {dtype!r}")
    size = math.prod(shape) * ITEM_SIZES[dtype]
    if start < 0 or end - start != size:
        raise ValueError(f"{file}: tensor {name!r} takes {end - start} bytes, its shape needs {size}")
    return StoredTensor(name=name, dtype=dtype, shape=shape, file=file, start=first + start, size=size)
