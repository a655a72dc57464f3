"""The manifest of a shard: which samples it holds, where, with which checksums, and what they were made of.

A manifest is a safetensors file of arrays over the N samples of the shard. The first four are what a reader
loads; the rest, the notes, are read when somebody asks what a sample is.

    keys (N, 2) uint64        higher and lower half of each key
    checksums (N,) uint64     of each sample, see `checksum`
    rows (N,) uint32          place of the sample in the tensors of its layout
    layouts (N,) uint16       which fields of which shapes it has
    note_labels (N,) uint64   hash of source and variant
    note_ends (N,) uint64     where the note of each sample ends in `notes`
    notes (bytes,) uint8      source, variant and recipe as JSON, one after the other
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from ea_data.store.container import Span, TensorRows, header_of, header_size, write_container
from ea_data.store.errors import CacheError
from ea_data.store.fields import Field, FieldLayout, Layout

__all__ = [
    "INDEX",
    "MANIFEST_SUFFIX",
    "SHARD_SUFFIX",
    "Note",
    "ShardFacts",
    "ShardIndex",
    "checksum",
    "label_hash",
    "read_index",
    "read_notes",
    "write_manifest",
]

SHARD_SUFFIX: Final = ".safetensors"
MANIFEST_SUFFIX: Final = ".manifest"
INDEX: Final = {"keys": "uint64", "checksums": "uint64", "rows": "uint32", "layouts": "uint16"}
_NOTES: Final = {"note_labels": "uint64", "note_ends": "uint64", "notes": "uint8"}
_FORMAT: Final = "ea-cache-manifest-1"
_FIRST_READ: Final = 1 << 16


@dataclass(frozen=True)
class Note:
    """What a person wants to know of a sample.

    Attributes:
        source: Where its media lie, as the writer named them; decides nothing.
        variant: Which of several crops or captions of the source it is.
        recipe: As `Recipe.as_json` gives it.
    """

    source: str
    variant: str
    recipe: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ShardFacts:
    """What a manifest says of its shard as a whole.

    Attributes:
        bytes: Size of the data file.
        header_checksum: Of the data file's header.
        made: When, in seconds since 1970.
        layouts: Fields of each layout.
        starts: Where each field of each layout begins in the data file.
    """

    bytes: int
    header_checksum: str
    made: float
    layouts: tuple[Layout, ...]
    starts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ShardIndex:
    """What a reader loads of a manifest; arrays as the module says."""

    name: str
    facts: ShardFacts
    keys: NDArray[np.uint64]
    checksums: NDArray[np.uint64]
    rows: NDArray[np.uint32]
    layouts: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.checksums)


def checksum(key: tuple[int, int], layout: Layout, fields: Mapping[str, Field]) -> int:
    """XXH3, 64 bits, of a key, what its fields are, and their bytes."""
    digest = xxhash.xxh3_64(_layout_text(layout))
    digest.update(key[0].to_bytes(8) + key[1].to_bytes(8))
    for entry in layout:
        digest.update(fields[entry.name].values.data)
    return digest.intdigest()


@lru_cache(maxsize=4096)
def _layout_text(layout: Layout) -> bytes:
    return json.dumps(layout, separators=(",", ":")).encode()


def label_hash(source: str, variant: str) -> int:
    """By which samples of one source and variant are found."""
    return xxhash.xxh3_64_intdigest(f"{source}\0{variant}".encode("utf-8", "surrogatepass"))


def write_manifest(
    file: BinaryIO, facts: ShardFacts, index: Mapping[str, NDArray[Any]], notes: Sequence[Note]
) -> None:
    """Write the manifest of a shard."""
    spelled = [json.dumps(vars(note), separators=(",", ":")).encode("ascii") for note in notes]
    arrays = {name: np.ascontiguousarray(index[name], dtype) for name, dtype in INDEX.items()}
    noted = {
        "note_labels": np.array([label_hash(note.source, note.variant) for note in notes], np.uint64),
        "note_ends": np.cumsum([len(text) for text in spelled], dtype=np.uint64),
        "notes": np.frombuffer(b"".join(spelled), np.uint8),
    }
    described = json.dumps(asdict(facts), separators=(",", ":"))
    metadata = {
        "format": _FORMAT,
        "shard": described,
        "index_checksum": _checksum_of(described, arrays),
        "notes_checksum": _checksum_of("", noted),
    }
    dtypes = INDEX | _NOTES
    tensors = [
        TensorRows(name, dtypes[name], array.shape, [array]) for name, array in (arrays | noted).items()
    ]
    write_container(file, tensors, metadata)


def read_index(path: Path) -> ShardIndex:
    """Load what a reader needs.

    Raises:
        CacheError: It cannot be read, or is not what was written.
    """
    try:
        with path.open("rb", buffering=0) as file:
            metadata, spans, beginning = _open(file)
            arrays = _arrays(file, spans, INDEX, beginning)
        described = metadata["shard"]
        if metadata["index_checksum"] != _checksum_of(described, arrays):
            raise ValueError("the checksum of its index is wrong")
        return ShardIndex(path.stem, _facts(json.loads(described)), **arrays)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from error


def read_notes(path: Path) -> tuple[NDArray[np.uint64], list[bytes]]:
    """Load labels and notes; a note is JSON of a `Note`.

    Raises:
        CacheError: As for `read_index`.
    """
    try:
        with path.open("rb", buffering=0) as file:
            metadata, spans, beginning = _open(file)
            arrays = _arrays(file, spans, _NOTES, beginning)
            if metadata["notes_checksum"] != _checksum_of("", arrays):
                raise ValueError("the checksum of its notes is wrong")
            if max(span.stop for span in spans.values()) != os.fstat(file.fileno()).st_size:
                raise ValueError("it has another length than its header says")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from error
    text, ends = arrays["notes"].tobytes(), arrays["note_ends"].tolist()
    return arrays["note_labels"], [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]


def _open(file: BinaryIO) -> tuple[dict[str, str], dict[str, Span], bytes]:
    beginning = os.pread(file.fileno(), _FIRST_READ, 0)
    size = header_size(beginning)
    if size > len(beginning):
        beginning = os.pread(file.fileno(), size, 0)
    metadata, spans = header_of(beginning)
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"its format is {metadata.get('format')!r} and not {_FORMAT!r}")
    return metadata, spans, beginning


def _arrays(
    file: BinaryIO, spans: Mapping[str, Span], names: Mapping[str, str], beginning: bytes
) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    first = min(spans[name].start for name in names)
    last = max(spans[name].stop for name in names)
    if last <= len(beginning):
        content, first = beginning, 0
    else:
        content = os.pread(file.fileno(), last - first, first)
    if first + len(content) < last:
        raise ValueError("it is cut off")
    for name, dtype in names.items():
        span = spans[name]
        if span.dtype != dtype:
            raise ValueError(f"{name} is {span.dtype} and not {dtype}")
        count = int(np.prod(span.shape))
        # Copied, so that what else was read is not kept.
        arrays[name] = np.frombuffer(content, dtype, count, span.start - first).reshape(span.shape).copy()
    return arrays


def _facts(content: dict[str, Any]) -> ShardFacts:
    layouts = tuple(
        tuple(FieldLayout(name, dtype, tuple(shape)) for name, dtype, shape in layout)
        for layout in content.pop("layouts")
    )
    starts = tuple(tuple(entry) for entry in content.pop("starts"))
    return ShardFacts(layouts=layouts, starts=starts, **content)


def _checksum_of(described: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = xxhash.xxh3_128(described.encode())
    for name, array in arrays.items():
        digest.update(f"{name}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _unreadable(path: Path, error: Exception) -> CacheError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return CacheError(f"the manifest {path} cannot be used: {reason}")
