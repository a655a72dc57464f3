"""Samples for tests of the cache store: small, each a function of its number."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ea_data.store import CacheWriter, Field, Recipe, digest_text

SHAPES = {"latents": (4, 2, 3, 3), "text": (5, 8)}


def recipe(number, **changes):
    """The recipe of sample `number`."""
    plain = {
        "inputs": {"video": digest_text(f"clip {number}")},
        "transform": {"size": [24, 24], "frames": 5},
        "encoders": {"vae": "f" * 16},
        "code": "1",
    }
    return Recipe(**plain | changes)


def fields(number):
    """Its arrays: latents are bfloat16, their numbers tell which sample it is."""
    rng = np.random.default_rng(number)
    bits = rng.integers(0, 1 << 16, SHAPES["latents"], dtype=np.uint16)
    return {"latents": Field(bits, "bfloat16"), "text": Field(rng.normal(size=SHAPES["text"]).astype("f2"))}


def write_share(folder, rank, world, count):
    """What one of several writers does, in a process that finds it here; returns what it published."""
    with CacheWriter(folder) as mine:
        for number in range(count):
            if number % world == rank or number % 5 == 0:  # every fifth is made by all
                mine.put(recipe(number), fields(number), source=f"{number}.mp4")
            if number % 7 == rank:
                mine.flush()
    return mine.published


def is_sample(read, number):
    """Whether what was read is sample `number`, to the last bit."""
    expected = fields(number)
    return sorted(read) == sorted(expected) and all(
        read[name].dtype == field.dtype and read[name].values.tobytes() == field.values.tobytes()
        for name, field in expected.items()
    )


def fill(folder, numbers, *, shard=10**9):
    """Write samples, `shard` to each shard; their keys."""
    keys = []
    with CacheWriter(folder) as writer:
        for place, number in enumerate(numbers, 1):
            keys.append(writer.put(recipe(number), fields(number), source=f"clips/{number}.mp4"))
            if place % shard == 0:
                writer.flush()
    return keys


def write_until_killed(folder, first, step):
    """Write small shards for ever, and print the number of each sample that is safe."""
    writer = CacheWriter(Path(folder))
    number = first
    while True:
        pending = range(number, number + 3 * step, step)
        for each in pending:
            writer.put(recipe(each), fields(each), source=f"clips/{each}.mp4")
        writer.flush()
        print(*pending, flush=True)
        number += 3 * step


if __name__ == "__main__":
    write_until_killed(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
