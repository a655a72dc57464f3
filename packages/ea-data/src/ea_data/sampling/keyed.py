"""Random numbers that are functions of (seed, epoch, sample) and the like, drawn again at will."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ea_data.geometry.buckets import Uniform

__all__ = [
    "generator",
    "keep_draws",
    "keyed_bits",
]

_ALL_BITS: Final = (1 << 64) - 1


def generator(*key: int) -> np.random.Generator:
    """A generator that depends on a few numbers, such as (seed, epoch, sample), and on nothing else."""
    return np.random.default_rng([number & _ALL_BITS for number in key])


def keyed_bits(values: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """64 well mixed bits for each value, by a key: SplitMix64's finaliser, twice (Steele et al. 2014)."""
    start, step = np.random.SeedSequence(key & _ALL_BITS).generate_state(2, np.uint64)
    return _mixed(_mixed(values + start) ^ step)


def keep_draws(seed: int, epoch: int) -> Uniform:
    """Draws for `ResolutionBuckets.assign`: a hash of (seed, epoch, row), for all rows at once."""
    key = int(np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0])

    def uniform(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        bits = keyed_bits(rows.astype(np.uint64), key) >> np.uint64(11)
        return bits.astype(np.float64) * 2.0**-53

    return uniform


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
