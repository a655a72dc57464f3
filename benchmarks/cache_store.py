"""How many encoded samples a second does one core read, checked, and how fast is the index of many?

A sample has the latents of a clip (16x5x32x32 bfloat16) and its encoded text (77x512 bfloat16), 242 KB.
Samples are read in random order from files that the system holds in memory, so that what is measured is the
store and not a disk. Beside it, without its index: the same bytes read without a checksum, and through
memory maps. The big index is made of manifests alone. Gate: what is read is what was written, to the last
bit, and a flipped bit is refused.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ea_data.store import CacheError, CacheStore, CacheWriter, CorruptSampleError, Field, Recipe
from ea_data.store import reader as store_reader
from ea_data.store.fields import FieldLayout
from ea_data.store.layout import create_store
from ea_data.store.manifest import Note, ShardFacts, write_manifest
from memory import peak_gigabytes
from report import GateError, Report, spread

SHAPES = {"latents": (16, 5, 32, 32), "text": (77, 512)}
SHARD_SAMPLES = 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--samples", type=int, default=4096, help="of the store that is read [default: 4096]")
    parser.add_argument(
        "--indexed", type=int, default=10_000_000, help="of the big index [default: 10000000]"
    )
    parser.add_argument("--repeats", type=int, default=5, help="[default: 5]")
    parser.add_argument("--folder", type=Path, help="where to put the stores [default: the system's]")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        gate = _check(Path(folder, "gate"))
        found = _reading(Path(folder, "store"), arguments.samples, arguments.repeats)
        index = _indexing(Path(folder, "index"), arguments.indexed, arguments.repeats)
    figures = {name: statistics.median(values) for name, values in (found | index).items()}
    figures["checksum_share"] = 1 - figures["samples_per_second"] / figures["unchecked_samples_per_second"]
    settings = {
        "samples": arguments.samples,
        "sample": "16x5x32x32 and 77x512 bfloat16",
        "order": "random",
        "indexed": arguments.indexed,
        "samples_of_a_shard": SHARD_SAMPLES,
        "seconds": "of processor time of one thread, files in memory; wall_seconds of the clock",
    }
    details = {name: spread(values) for name, values in (found | index).items()}
    return Report(figures=figures, gate=gate, settings=settings, details=details)


def _reading(folder: Path, samples: int, repeats: int) -> dict[str, list[float]]:
    joint, apart = folder / "joint", folder / "apart"
    start = time.perf_counter()
    keys = _fill(joint, samples, together=True)
    write_seconds = time.perf_counter() - start
    pairs = _fill(apart, samples, together=False)
    order = np.random.default_rng(1).permutation(samples).tolist()
    store, parts = CacheStore(joint), CacheStore(apart)
    maps = _maps(joint)
    layout = [(name, *maps[name]) for name in SHAPES]

    def mapped(number: int) -> list[Any]:
        return [np.array(array[number % len(array)]) for _, array in layout]

    def pair(number: int) -> None:
        parts.read(pairs[number][0])
        parts.read(pairs[number][1])

    found: dict[str, list[float]] = {
        "samples_per_second": [],
        "pairs_per_second": [],
        "unchecked_samples_per_second": [],
        "mapped_samples_per_second": [],
    }
    for _ in range(repeats):
        found["samples_per_second"].append(_rate(lambda n: store.read(keys[n]), order))
        found["pairs_per_second"].append(_rate(pair, order))
        found["mapped_samples_per_second"].append(_rate(mapped, order))
        with _unchecked():
            found["unchecked_samples_per_second"].append(_rate(lambda n: store.read(keys[n]), order))
    return found | {"written_samples_per_second": [samples / write_seconds]}


def _rate(read: Callable[[int], object], order: list[int]) -> float:
    """Samples a second of processor time: other work on the machine does not count."""
    for number in order:  # once unmeasured, so that the files are in memory
        read(number)
    start = time.process_time()
    for number in order:
        read(number)
    return len(order) / (time.process_time() - start)


def _sample(number: int, block: np.ndarray) -> dict[str, Field]:
    sample: dict[str, Field] = {}
    for name, shape in SHAPES.items():
        values = block[: int(np.prod(shape))].reshape(shape).copy()
        values.flat[:4] = np.array([number], np.uint64).view(np.uint16)
        sample[name] = Field(values, "bfloat16")
    return sample


def _fill(folder: Path, samples: int, *, together: bool) -> list[Any]:
    """Write samples as one, or latents and text as two; their keys."""
    block = np.random.default_rng(0).integers(0, 1 << 16, 1 << 17, dtype=np.uint16)
    keys: list[Any] = []
    with CacheWriter(folder) as writer:
        for number in range(samples):
            sample, name = _sample(number, block), f"clips/{number:08d}.mp4"
            if together:
                keys.append(writer.put(_recipe(number, "both"), sample, source=name))
            else:
                made = [writer.put(_recipe(number, n), {n: f}, source=name) for n, f in sample.items()]
                keys.append(made)
    return keys


def _recipe(number: int, kind: str) -> Recipe:
    return Recipe(
        inputs={kind: f"{number:032x}"},
        transform={"size": [256, 256], "frames": [0, 17]},
        encoders={kind: "0123456789abcdef"},
        code="1",
    )


@contextmanager
def _unchecked() -> Iterator[None]:
    """Reading without checksums, which the store itself does not offer."""
    real = store_reader.checksum

    class Same:
        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = None

    store_reader.checksum = lambda *_: Same()  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        store_reader.checksum = real


def _maps(folder: Path) -> dict[str, tuple[np.ndarray]]:
    """The first shard of a store, as memory maps."""
    from ea_data.store.contents import shards_of

    shard = next(shards_of(create_store(folder)))
    facts, path = shard.index.facts, folder / "shards" / f"{shard.name}.safetensors"
    (layout,), (starts,) = facts.layouts, facts.starts
    return {
        entry.name: (np.memmap(path, np.uint16, "r", start, (len(shard), *entry.shape)),)
        for entry, start in zip(layout, starts, strict=True)
    }


def _indexing(folder: Path, samples: int, repeats: int) -> dict[str, list[float]]:
    """Seconds and memory to load and search the index of a store of manifests."""
    paths = create_store(folder)
    rng = np.random.default_rng(2)
    layout = tuple(FieldLayout(name, "bfloat16", shape) for name, shape in SHAPES.items())
    note = Note("clips/00000000.mp4", "", _recipe(0, "both").as_json())
    for number in range(-(-samples // SHARD_SAMPLES)):
        count = min(SHARD_SAMPLES, samples - number * SHARD_SAMPLES)
        facts = ShardFacts(bytes=0, header_checksum="", made=0.0, layouts=(layout,), starts=((0, 0),))
        index = {
            "keys": rng.integers(0, 1 << 64, (count, 2), dtype=np.uint64),
            "checksums": np.zeros(count, np.uint64),
            "rows": np.arange(count),
            "layouts": np.zeros(count),
        }
        with (paths.shards / f"{number:016x}-00000.manifest").open("wb") as file:
            write_manifest(file, facts, index, [note] * count)
    runs: list[dict[str, float]] = []
    for _ in range(repeats):
        # A process of its own, so that its memory can be read.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            runs.append(pool.submit(_load_index, folder).result())
    return {name: [entry[name] for entry in runs] for name in runs[0]}


def _load_index(folder: Path) -> dict[str, float]:
    before = peak_gigabytes()  # what was imported
    store = CacheStore(folder)  # once unmeasured, so that the files are in memory
    gigabytes = peak_gigabytes() - before
    del store
    start, begin = time.process_time(), time.perf_counter()
    store = CacheStore(folder)
    seconds, wall_seconds = time.process_time() - start, time.perf_counter() - begin
    places = np.random.default_rng(3).integers(0, len(store), 20_000).tolist()
    keys = [store.key_at(place) for place in places]
    start = time.process_time()
    if not all(key in store for key in keys):
        raise GateError("a key of the big index is not found")
    lookups = len(keys) / (time.process_time() - start)
    return {
        "index_seconds": seconds,
        "index_wall_seconds": wall_seconds,
        "index_gigabytes": gigabytes,
        "lookups_per_second": lookups,
    }


def _check(folder: Path) -> dict[str, float]:
    keys = _fill(folder, 64, together=True)
    store = CacheStore(folder)
    block = np.random.default_rng(0).integers(0, 1 << 16, 1 << 17, dtype=np.uint16)
    same = all(
        store.read(key)[name].values.tobytes() == field.values.tobytes()
        for number, key in enumerate(keys)
        for name, field in _sample(number, block).items()
    )
    (path,) = folder.glob("shards/*.safetensors")
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    refused = 0
    for key in keys:
        try:
            store.read(key)
        except CorruptSampleError:
            refused += 1
        except CacheError as error:
            raise GateError(f"another error than expected: {error}") from error
    found = {"same_bits": float(same), "refused_of_one_damaged": float(refused)}
    if found != {"same_bits": 1.0, "refused_of_one_damaged": 1.0}:
        raise GateError(f"the store is wrong: {found}")
    return found
