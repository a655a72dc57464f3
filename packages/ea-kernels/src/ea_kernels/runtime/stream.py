"""Checkpoints rewritten from disk to disk: other names, other shards, another number type.

`safetensors.torch.save_file` wants all tensors of a file in memory, a shard of gigabytes. The format puts the
header first and every size is known before the first tensor is read, so this module writes the header and
then copies the tensors in pieces: the size of a model does not matter for the memory that it takes.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import torch
from torch import Tensor

from ea_kernels.runtime.files import write_json
from ea_kernels.runtime.key_map import KeyMap
from ea_kernels.runtime.pickles import is_pickle, read_pickle
from ea_kernels.runtime.stored import ITEM_SIZES, LENGTH_BYTES, METADATA, StoredTensor

STEM = "diffusion_pytorch_model"
MAX_SHARD = 5_000_000_000
"""Bytes of a file at most, as hubs like it."""

_PIECE = 16 << 20
_ALIGNMENT = 8
FLOATS: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F8_E4M3": torch.float8_e4m3fn,
        "F8_E5M2": torch.float8_e5m2,
    }
)
"""Floating-point types by the format's names."""


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """A tensor on its way.

    Attributes:
        source: Where it is.
        name: Its new name.
        dtype: Its new number type, by the format's name.
        change: Makes new values of the old ones, of the same shape and type, all in memory at once; None
            keeps them.
    """

    source: StoredTensor
    name: str
    dtype: str
    change: Callable[[Tensor], Tensor] | None = None

    @property
    def size(self) -> int:
        """Its bytes in the new file."""
        return self.source.count * ITEM_SIZES[self.dtype]


def renames(names: Iterable[str], old: KeyMap, new: KeyMap) -> dict[str, str]:
    """Names of one released layout in another, by way of ours.

    Args:
        names: Stored names.
        old: Their table.
        new: The table of the other layout.

    Raises:
        ValueError: If a tensor has no counterpart as a whole: the other layout drops it, or joins it with
            others.
    """
    found: dict[str, str] = {}
    for name in names:
        ours = old.to_ours(name)
        target = new.to_released(ours[0]) if ours else name
        if not ours or new.to_ours(target) != ours:
            raise ValueError(f"tensor {name!r} has no counterpart in the other layout")
        found[name] = target
    return found


def plan_rewrite(
    tensors: Iterable[StoredTensor], names: Mapping[str, str], dtype: torch.dtype | None = None
) -> tuple[Rewritten, ...]:
    """What a rewrite makes of every tensor.

    Args:
        tensors: Of the checkpoint, in the order in which they shall be written.
        names: New names by old ones; names that are not in it stay.
        dtype: Number type of floating-point tensors, one that the format has; None keeps the stored one.
    """
    kept = {kind: name for name, kind in FLOATS.items()}
    return tuple(
        Rewritten(
            source=tensor,
            name=names.get(tensor.name, tensor.name),
            dtype=tensor.dtype if dtype is None or tensor.dtype not in FLOATS else kept[dtype],
        )
        for tensor in tensors
    )


def write_rewritten(
    directory: Path,
    tensors: Sequence[Rewritten],
    *,
    max_shard: int = MAX_SHARD,
    metadata: Mapping[str, str] = MappingProxyType({}),
    on_bytes: Callable[[int], None] | None = None,
    stem: str = STEM,
) -> list[Path]:
    """Writes tensors to one file, or to shards with an index, in pieces of some megabytes.

    The files appear one after the other: whoever wants all or none writes to a draft folder, see
    `ea_kernels.runtime.files.new_directory`.

    Args:
        directory: Must exist.
        tensors: From `plan_rewrite`.
        max_shard: Most bytes of tensors in a file; a larger tensor gets a file of its own.
        metadata: Text for the headers.
        on_bytes: Called with the number of bytes written since the last call.
        stem: Name of the file without its ending, or what the names of shards begin with.

    Returns:
        The weight files.

    Raises:
        ValueError: If a file ends early.
        OSError: If the disk is full or cannot be written.
    """
    shards = list(_shards(tensors, max_shard))
    plain = len(shards) == 1
    files: list[Path] = []
    for number, shard in enumerate(shards, 1):
        ending = "" if plain else f"-{number:05d}-of-{len(shards):05d}"
        files.append(directory / f"{stem}{ending}.safetensors")
        write_file(files[-1], shard, metadata, on_bytes)
    if not plain:
        index = {
            "metadata": {"total_size": sum(tensor.size for tensor in tensors)},
            "weight_map": {
                tensor.name: file.name for file, shard in zip(files, shards, strict=True) for tensor in shard
            },
        }
        write_json(directory / f"{stem}.safetensors.index.json", index)
    return files


def _shards(tensors: Sequence[Rewritten], most: int) -> Iterator[list[Rewritten]]:
    shard: list[Rewritten] = []
    size = 0
    for tensor in tensors:
        if shard and size + tensor.size > most:
            yield shard
            shard, size = [], 0
        shard.append(tensor)
        size += tensor.size
    yield shard


def write_file(
    file: Path,
    tensors: Sequence[Rewritten],
    metadata: Mapping[str, str] = MappingProxyType({}),
    on_bytes: Callable[[int], None] | None = None,
) -> None:
    """Writes tensors to one file, in pieces of some megabytes but for those that change.

    Args:
        file: In a folder that exists; see `write_rewritten`, as the arguments after it.
        tensors: From `plan_rewrite`, or with changes.
        metadata: Text for the header.
        on_bytes: Called with the number of bytes written since the last call.

    Raises:
        ValueError: If a file ends early.
        OSError: If the disk is full or cannot be written.
    """
    # Widest numbers first: then every tensor starts at a multiple of its own numbers without gaps.
    ordered = sorted(tensors, key=lambda tensor: -ITEM_SIZES[tensor.dtype])
    header: dict[str, object] = {METADATA: {"format": "pt", **metadata}}
    end = 0
    for tensor in ordered:
        place = {
            "dtype": tensor.dtype,
            "shape": tensor.source.shape,
            "data_offsets": [end, end + tensor.size],
        }
        header[tensor.name] = place
        end += tensor.size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    pickles = {path: read_pickle(path) for path in {t.source.file for t in tensors} if is_pickle(path)}
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(LENGTH_BYTES, "little") + text)
        for tensor in ordered:
            source = tensor.source
            held = pickles.get(source.file)
            pieces = read_pieces(source) if held is None else held_pieces(held[source.name])
            if tensor.change is not None:
                pieces = held_pieces(_changed(pieces, source, tensor.change))
            _copy(pieces, tensor, stream, on_bytes)


def _copy(
    pieces: Iterable[memoryview], tensor: Rewritten, target: BinaryIO, on_bytes: Callable[[int], None] | None
) -> None:
    old, new = tensor.source.dtype, tensor.dtype
    for piece in pieces:
        if old == new:
            written = target.write(piece)
        else:
            cast = torch.frombuffer(piece, dtype=FLOATS[old]).to(FLOATS[new])
            written = target.write(cast.view(torch.uint8).numpy().tobytes())
        if on_bytes is not None:
            on_bytes(written)


def _changed(
    pieces: Iterable[memoryview], source: StoredTensor, change: Callable[[Tensor], Tensor]
) -> Tensor:
    """What becomes of a tensor's values."""
    whole = bytearray()
    for piece in pieces:
        whole += piece
    values = torch.frombuffer(whole, dtype=FLOATS[source.dtype]).reshape(source.shape)
    made = change(values)
    assert (made.shape, made.dtype) == (values.shape, values.dtype), source.name
    return made


def read_pieces(source: StoredTensor) -> Iterator[memoryview]:
    """Bytes of a tensor from its file, some megabytes at a time.

    Yields:
        A piece, which is valid until the next one is asked for.

    Raises:
        ValueError: If the file ends early.
    """
    # All floats in a piece are whole: its length is a multiple of theirs.
    buffer = bytearray(min(_PIECE, source.size))
    left = source.size
    with source.file.open("rb", buffering=0) as stream:
        stream.seek(source.start)
        while left:
            piece = memoryview(buffer)[: min(left, len(buffer))]
            if not _fill(stream, piece):
                raise ValueError(f"{source.file}: is cut off inside tensor {source.name!r}")
            yield piece
            left -= len(piece)


def held_pieces(tensor: Tensor) -> Iterator[memoryview]:
    """Bytes of a tensor that an unpickler gave."""
    flat = tensor.contiguous().reshape(-1)
    for part in flat.split(_PIECE // flat.element_size()):
        if part.numel():
            yield part.view(torch.uint8).numpy().data


def _fill(stream: FileIO, piece: memoryview) -> bool:
    """Reads until a piece is full; False if the file ends before."""
    done = 0
    while done < len(piece):
        count = stream.readinto(piece[done:])
        if not count:
            return False
        done += count
    return True
