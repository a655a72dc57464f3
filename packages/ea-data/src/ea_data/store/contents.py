"""Walking over what is in a store, shard by shard, damaged ones included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ea_data.store.container import header_size
from ea_data.store.errors import CacheError
from ea_data.store.fields import Field, layout_bytes
from ea_data.store.index import Place
from ea_data.store.layout import StorePaths
from ea_data.store.manifest import (
    MANIFEST_SUFFIX,
    SHARD_SUFFIX,
    Note,
    ShardIndex,
    read_index,
    read_notes,
)
from ea_data.store.reader import DamageError, ShardFiles

__all__ = ["Shard", "header_bytes", "open_shard", "sample_bytes", "shards_of"]


@dataclass(frozen=True)
class Shard:
    """A shard whose manifest is good.

    Attributes:
        paths: Of its store.
        index: What its manifest says.
    """

    paths: StorePaths
    index: ShardIndex

    @property
    def name(self) -> str:
        """Its name, without folder and suffix."""
        return self.index.name

    def __len__(self) -> int:
        return len(self.index)

    def numbers(self, sample: int) -> tuple[int, int]:
        """The halves of the key of a sample, 0 to len - 1."""
        high, low = self.index.keys[sample].tolist()
        return high, low

    def key(self, sample: int) -> str:
        """The key of a sample, 0 to len - 1."""
        high, low = self.numbers(sample)
        return f"{high:016x}{low:016x}"

    def read(self, files: ShardFiles, sample: int) -> dict[str, Field]:
        """Read a sample and check it; DamageError if it is not what was written."""
        index = self.index
        place = Place(0, int(index.layouts[sample]), int(index.rows[sample]), int(index.checksums[sample]))
        return files.read(self.name, index.facts, place, self.numbers(sample))

    def labels_and_notes(self) -> tuple[list[int], list[bytes]]:
        """Hashes of source and variant, and notes as JSON, of all samples; CacheError if they are damaged."""
        labels, notes = read_notes(self.paths.shards / f"{self.name}{MANIFEST_SUFFIX}")
        return labels.tolist(), notes

    def notes(self) -> list[bytes]:
        """The notes of all samples as JSON; CacheError if they are damaged."""
        return self.labels_and_notes()[1]

    def all_notes(self) -> list[Note]:
        """The notes of all samples; CacheError if they are damaged."""
        return [Note(**json.loads(note)) for note in self.notes()]

    def note(self, sample: int) -> Note:
        """The note of one sample; CacheError if the notes are damaged."""
        content: dict[str, Any] = json.loads(self.notes()[sample])
        return Note(**content)

    def disk_bytes(self) -> int:
        """Bytes of its two files; those that are missing count nothing."""
        return sum(
            path.stat().st_size if path.exists() else 0
            for path in (self.paths.shards / f"{self.name}{end}" for end in (SHARD_SUFFIX, MANIFEST_SUFFIX))
        )


def open_shard(paths: StorePaths, name: str) -> Shard:
    """Open a shard by name; CacheError if its manifest cannot be used."""
    return Shard(paths, read_index(paths.shards / f"{name}{MANIFEST_SUFFIX}"))


def shards_of(paths: StorePaths) -> Iterator[Shard]:
    """All shards whose manifest can be used, by name."""
    for name in paths.shard_names():
        try:
            yield open_shard(paths, name)
        except CacheError:
            continue


def sample_bytes(shard: Shard, sample: int) -> int:
    """Bytes of the arrays of a sample."""
    return layout_bytes(shard.index.facts.layouts[int(shard.index.layouts[sample])])


def header_bytes(shard: Shard) -> bytes:
    """The header of a data file as it is on disk; DamageError if it cannot be read."""
    path = shard.paths.shards / f"{shard.name}{SHARD_SUFFIX}"
    try:
        with path.open("rb") as file:
            beginning = file.read(8)
            return beginning + file.read(header_size(beginning) - len(beginning))
    except FileNotFoundError as error:
        raise DamageError("the data file is missing") from error
    except (OSError, ValueError) as error:
        raise DamageError(f"the header of the data file cannot be read ({error})") from error
