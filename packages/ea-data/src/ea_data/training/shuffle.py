"""Permutations that are computed instead of stored, so that any part of a shuffled epoch is there at once."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shuffle"]

_STORED: Final = 1 << 16
_ROUNDS: Final = 8
_CHUNK: Final = 1 << 16


class Shuffle:
    """A permutation of 0 ... n - 1 that depends on a key of whole numbers.

    Up to 65536 it is one that numpy draws, every permutation equally likely. Larger ones are a Feistel
    network on the bits of a position (Luby and Rackoff 1988), walked along until it is back below n (Black
    and Rogaway 2002): they take no memory and no time in advance.

    Args:
        n: How many.
        key: Numbers of 0 or more; others give another permutation.
        stored: Largest n that is drawn; 0 never draws.
    """

    def __init__(self, n: int, key: tuple[int, ...], *, stored: int = _STORED) -> None:
        self.n = n
        seeds = np.random.SeedSequence(key)
        self._table: NDArray[np.int64] | None = None
        if n <= max(stored, 1):
            self._table = np.random.default_rng(seeds).permutation(n)
            return
        bits = max((n - 1).bit_length(), 2)
        self._low_bits = np.uint64(bits // 2)
        self._low_mask = np.uint64((1 << bits // 2) - 1)
        self._high_mask = np.uint64((1 << bits - bits // 2) - 1)
        self._keys = seeds.generate_state(_ROUNDS, np.uint32)

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """What lies at these positions, each from 0 to n - 1, in any order."""
        if self._table is not None:
            return self._table[positions]
        parts = [self._walk(positions[start : start + _CHUNK]) for start in range(0, len(positions), _CHUNK)]
        return np.concatenate(parts) if parts else positions

    def _walk(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        values = self._network(positions.astype(np.uint64))
        outside = np.flatnonzero(values >= self.n)
        while len(outside):
            values[outside] = self._network(values[outside])
            outside = outside[values[outside] >= self.n]
        return values.astype(np.int64)

    def _network(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        low = (values & self._low_mask).astype(np.uint32)
        high = (values >> self._low_bits).astype(np.uint32)
        low_mask, high_mask = np.uint32(self._low_mask), np.uint32(self._high_mask)
        for number, key in enumerate(self._keys):
            if number % 2:
                low ^= _mixed(high ^ key) & low_mask
            else:
                high ^= _mixed(low ^ key) & high_mask
        return (high.astype(np.uint64) << self._low_bits) | low


def _mixed(h: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """32 well mixed bits: the finaliser of MurmurHash3 (Appleby, public domain)."""
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return h ^ (h >> np.uint32(16))
