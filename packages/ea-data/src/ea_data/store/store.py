"""Reading a store: its index in memory, its samples by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ea_data.store.errors import CacheError, CorruptSampleError, MissingSampleError
from ea_data.store.fields import Field
from ea_data.store.index import StoreIndex, numbers_of
from ea_data.store.layout import open_paths
from ea_data.store.manifest import MANIFEST_SUFFIX, ShardFacts, ShardIndex, read_index
from ea_data.store.reader import DamageError, ShardFiles, ShardGoneError
from ea_data.store.recipe import Recipe, key_numbers
from ea_data.store.writer import CacheWriter

__all__ = ["CacheStore", "read_or_make"]


class CacheStore:
    """A store, for reading; threads, forked and spawned processes may share one.

    It sees the shards that were finished when it was opened, or at the last `refresh`.

    Attributes:
        folder: Of the store.
        problems: One line for each manifest that cannot be used; its samples count as missing.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open a store and load its index.

        Raises:
            CacheError: The folder is no store.
        """
        self.folder = Path(folder)
        self._paths = open_paths(folder)
        self._files = ShardFiles(self._paths.shards)
        self.problems: tuple[str, ...] = ()
        self.refresh()

    def __reduce__(self) -> tuple[type[CacheStore], tuple[Path]]:
        """Another process opens it again."""
        return type(self), (self.folder,)

    def __len__(self) -> int:
        """Number of different samples."""
        return len(self._index)

    def __contains__(self, key: str) -> bool:
        return self._index.position(key) >= 0

    def refresh(self) -> None:
        """See shards that were finished or removed since the store was opened."""
        names, problems = self._paths.shard_names(), list[str]()
        loaded: list[ShardIndex] = []
        for name in names:
            try:
                loaded.append(read_index(self._manifest(name)))
            except CacheError as error:
                problems.append(str(error))
        index = StoreIndex.of(list(enumerate(loaded)))
        shards: list[tuple[str, ShardFacts]] = [(shard.name, shard.facts) for shard in loaded]
        # One assignment: threads that read have the old state or the new one.
        self._state = (index, shards)
        self.problems = tuple(problems)
        self._files.forget()

    @property
    def _index(self) -> StoreIndex:
        return self._state[0]

    def keys(self) -> NDArray[np.uint64]:
        """(N, 2) higher and lower halves of all keys, in order."""
        return self._index.keys()

    def key_at(self, position: int) -> str:
        """The key at a position in key order, 0 to len - 1."""
        return self._index.key_at(self._checked(position))

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of the keys that the store does not have, each once, in the order given."""
        wanted = list(dict.fromkeys(keys))
        positions = self._index.positions(numbers_of(wanted))
        return [key for key, position in zip(wanted, positions, strict=True) if position < 0]

    def read(self, key: str) -> dict[str, Field]:
        """Read a sample and check it against its checksum.

        Args:
            key: As `Recipe.key` gives it.

        Returns:
            Its fields by name, in memory of their own that may be written to.

        Raises:
            MissingSampleError: The store does not have it.
            CorruptSampleError: It has, and every copy is damaged.
            CacheError: That is no key.
        """
        try:
            return self._read(key)
        except CorruptSampleError as error:
            gone = isinstance(error.__cause__, ShardGoneError)
            if not gone or self._manifest(error.shard).exists():
                raise
        # A collection has removed the shard, and may have written its samples anew.
        self.refresh()
        return self._read(key)

    def read_at(self, position: int) -> dict[str, Field]:
        """Read the sample at a position in key order, 0 to len - 1; errors as for `read`."""
        return self.read(self.key_at(position))

    def _read(self, key: str) -> dict[str, Field]:
        index, shards = self._state
        position = index.position(key)
        if position < 0:
            more = f"; {len(self.problems)} of its manifests cannot be used" if self.problems else ""
            raise MissingSampleError(key, f"{self.folder} has no sample {key}{more}")
        first: tuple[str, DamageError] | None = None
        for place in index.places(position):
            name, facts = shards[place.shard]
            try:
                return self._files.read(name, facts, place, key_numbers(key))
            except DamageError as error:
                first = first or (name, error)
        assert first is not None
        raise CorruptSampleError(key, first[0], str(first[1])) from first[1]

    def _manifest(self, shard: str) -> Path:
        return self._paths.shards / f"{shard}{MANIFEST_SUFFIX}"

    def _checked(self, position: int) -> int:
        if not 0 <= position < len(self):
            raise IndexError(f"position {position}; allowed: 0 to {len(self) - 1}")
        return position


def read_or_make(
    store: CacheStore,
    writer: CacheWriter,
    recipe: Recipe,
    make: Callable[[], Mapping[str, Field]],
    **label: Any,
) -> Mapping[str, Field]:
    """The sample of a recipe: read if it is there and good, made and added to the store otherwise.

    Args:
        store: Where it may be.
        writer: Where it goes when it was made.
        recipe: What it is made of.
        make: Makes it.
        label: `source` and `variant`, as for `CacheWriter.put`.

    Raises:
        CacheError: It cannot be written.
    """
    try:
        return store.read(recipe.key)
    except (MissingSampleError, CorruptSampleError):
        made = make()
        writer.put(recipe, made, **label)
        return made
