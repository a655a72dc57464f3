"""Randomness as a function of the seed and the number of the micro-batch."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_at(seed: int, batch: int) -> int:
    """A number below 2^32 for micro-batch `batch` of a run; no two of the first 2^32 share one.

    The CPU engine of torch looks at the lowest 32 bits of a seed alone. So the run's seed is hashed to a
    start, and micro-batches count from there.
    """
    start = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=4).digest(), "big")
    return (start + batch) % (1 << 32)


def generator_at(seed: int, batch: int) -> torch.Generator:
    """The source of a micro-batch's noise, on the CPU; it also sets the global sources, for dropout."""
    number = seed_at(seed, batch)
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002  what libraries draw from
    return torch.Generator().manual_seed(number)


@contextmanager
def global_sources_kept() -> Iterator[None]:
    """Leave the global sources of randomness as they were before the block."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
