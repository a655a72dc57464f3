"""The index of all shards of a store: arrays sorted by key, built in one go from the manifests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ea_data.store.manifest import ShardIndex
from ea_data.store.recipe import key_numbers

__all__ = ["Place", "StoreIndex", "numbers_of"]


@dataclass(frozen=True)
class Place:
    """Where one copy of a sample lies: number of the shard, then as in its manifest."""

    shard: int
    layout: int
    row: int
    checksum: int


@dataclass(frozen=True)
class StoreIndex:
    """Arrays over the M copies of all samples, sorted by key; copies of one key stand together.

    Attributes:
        high: (M,) uint64, higher halves of keys.
        low: (M,) uint64, lower halves.
        shards: (M,) uint32, numbers of shards.
        rows: (M,) uint32.
        layouts: (M,) uint16.
        checksums: (M,) uint64.
        firsts: (N,) int64, where the copies of each of the N different keys begin; None if M is N.
    """

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    shards: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    layouts: NDArray[np.uint16]
    checksums: NDArray[np.uint64]
    firsts: NDArray[np.int64] | None

    @classmethod
    def of(cls, loaded: Sequence[tuple[int, ShardIndex]]) -> Self:
        """Index the shards that are given with their numbers."""
        keys = _joined((shard.keys for _, shard in loaded), np.uint64, (0, 2))
        order = np.argsort(keys[:, 0])
        high = keys[order, 0]
        if np.any(high[1:] == high[:-1]):  # copies of one sample, or half a collision
            order = np.lexsort((keys[:, 1], keys[:, 0]))
        high, low = keys[order, 0], keys[order, 1]
        del keys
        lengths = [len(shard) for _, shard in loaded]
        numbers = np.repeat(np.array([number for number, _ in loaded], np.uint32), lengths)
        differs = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        firsts = None if differs.all() else np.flatnonzero(np.concatenate([[True], differs]))
        return cls(
            high,
            low,
            numbers[order],
            _joined((shard.rows for _, shard in loaded), np.uint32, (0,))[order],
            _joined((shard.layouts for _, shard in loaded), np.uint16, (0,))[order],
            _joined((shard.checksums for _, shard in loaded), np.uint64, (0,))[order],
            firsts,
        )

    def __len__(self) -> int:
        """Number of different keys."""
        return len(self.high) if self.firsts is None else len(self.firsts)

    def keys(self) -> NDArray[np.uint64]:
        """(N, 2) halves of all keys, in order."""
        both = np.stack([self.high, self.low], axis=1)
        return both if self.firsts is None else both[self.firsts]

    def key_at(self, position: int) -> str:
        """The key at a position in key order."""
        first = position if self.firsts is None else int(self.firsts[position])
        return f"{int(self.high[first]):016x}{int(self.low[first]):016x}"

    def positions(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """(K,) positions in key order of (K, 2) keys, -1 where there is none."""
        found = np.full(len(keys), -1, np.int64)
        if not len(self.high):
            return found
        near = np.minimum(np.searchsorted(self.high, keys[:, 0]), len(self.high) - 1)
        same_half = self.high[near] == keys[:, 0]
        hit = same_half & (self.low[near] == keys[:, 1])
        found[hit] = near[hit]
        for place in np.flatnonzero(same_half & ~hit):
            found[place] = self._copy_of(int(keys[place, 0]), int(keys[place, 1]))
        if self.firsts is not None:
            there = found >= 0
            found[there] = np.searchsorted(self.firsts, found[there])
        return found

    def position(self, key: str) -> int:
        """The position of one key, -1 if it is not there."""
        found = self._copy_of(*key_numbers(key))
        return found if found < 0 or self.firsts is None else int(np.searchsorted(self.firsts, found))

    def places(self, position: int) -> list[Place]:
        """All copies of the sample at a position in key order."""
        if self.firsts is None:
            first, last = position, position + 1
        else:
            first = int(self.firsts[position])
            ends = position + 1 < len(self.firsts)
            last = int(self.firsts[position + 1]) if ends else len(self.high)
        return [
            Place(int(self.shards[i]), int(self.layouts[i]), int(self.rows[i]), int(self.checksums[i]))
            for i in range(first, last)
        ]

    def _copy_of(self, high: int, low: int) -> int:
        """The first copy of a key, -1 if there is none."""
        at = int(np.searchsorted(self.high, np.uint64(high)))
        while at < len(self.high) and self.high[at] == high:  # more than once only after half a collision
            if self.low[at] == low:
                return at
            at += 1
        return -1


def numbers_of(keys: Iterable[str]) -> NDArray[np.uint64]:
    """(K, 2) halves of keys; CacheError if one is none."""
    numbers = [key_numbers(key) for key in keys]
    return np.array(numbers, np.uint64).reshape(-1, 2)


def _joined(parts: Iterable[NDArray[Any]], dtype: type, empty: tuple[int, ...]) -> NDArray[Any]:
    there = list(parts)
    return np.concatenate(there) if there else np.empty(empty, dtype)
