"""Checking every byte of a store against what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash

from ea_data.store.contents import Shard, header_bytes, open_shard, sample_bytes
from ea_data.store.errors import CacheError
from ea_data.store.layout import StorePaths, open_paths
from ea_data.store.manifest import SHARD_SUFFIX
from ea_data.store.reader import DamageError, ShardFiles

__all__ = ["Damage", "Verification", "damage_outside_samples", "damaged_samples", "verify_store"]


@dataclass(frozen=True)
class Damage:
    """Something that is not what was written.

    Attributes:
        shard: Name of the shard.
        key: Of the sample, empty when it is the shard as a whole.
        reason: What is wrong.
    """

    shard: str
    key: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """What was checked, and what was found.

    Attributes:
        shards: Manifests that were read or tried.
        samples: Samples that were read.
        bytes: Bytes of their arrays.
        damage: Everything that is wrong.
    """

    shards: int
    samples: int
    bytes: int
    damage: tuple[Damage, ...]


def verify_store(
    folder: str | Path, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> Verification:
    """Read all manifests and samples of a store.

    Args:
        folder: Of the store.
        progress: Is told after each shard how many are done, and how many there are.

    Raises:
        CacheError: The folder is no store.
    """
    paths = open_paths(folder)
    files = ShardFiles(paths.shards)
    names = paths.shard_names()
    samples = total = 0
    damage: list[Damage] = []
    for done, name in enumerate(names, 1):
        try:
            shard = open_shard(paths, name)
        except CacheError as error:
            if _is_there(paths, name):  # a collection may have removed it meanwhile
                damage.append(Damage(name, "", str(error)))
        else:
            damage += damage_outside_samples(shard)
            damage += [Damage(name, shard.key(at), why) for at, why in damaged_samples(shard, files)]
            samples += len(shard)
            total += sum(sample_bytes(shard, at) for at in range(len(shard)))
        progress(done, len(names))
    return Verification(len(names), samples, total, tuple(damage))


def damaged_samples(shard: Shard, files: ShardFiles) -> Iterator[tuple[int, str]]:
    """Number and reason of each sample of a shard that cannot be read as it was written."""
    for sample in range(len(shard)):
        try:
            shard.read(files, sample)
        except DamageError as error:
            yield sample, str(error)


def damage_outside_samples(shard: Shard) -> list[Damage]:
    """What is wrong with a shard outside of its samples."""
    found: list[str] = []
    try:
        shard.notes()
    except CacheError as error:
        found.append(str(error))
    try:
        if xxhash.xxh3_128_hexdigest(header_bytes(shard)) != shard.index.facts.header_checksum:
            found.append("the header of the data file is not what was written")
        there = (shard.paths.shards / f"{shard.name}{SHARD_SUFFIX}").stat().st_size
        if there != shard.index.facts.bytes:
            found.append(f"the data file has {there} bytes, {shard.index.facts.bytes} were written")
    except DamageError as error:
        found.append(str(error))
    return [Damage(shard.name, "", reason) for reason in found]


def _is_there(paths: StorePaths, name: str) -> bool:
    return name in paths.shard_names()
