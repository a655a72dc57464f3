"""Writing samples: into shards of the writer's own, each of which appears complete or not at all."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, TypeVar

import numpy as np
import xxhash
from filelock import FileLock

from ea_data.store.container import TensorRows, publish, write_container
from ea_data.store.errors import CacheError
from ea_data.store.fields import Field, Layout, layout_of
from ea_data.store.layout import PART_SUFFIX, create_store, write_error
from ea_data.store.manifest import (
    MANIFEST_SUFFIX,
    SHARD_SUFFIX,
    Note,
    ShardFacts,
    checksum,
    write_manifest,
)
from ea_data.store.recipe import Recipe, key_numbers

__all__ = ["SHARD_BYTES", "CacheWriter"]

SHARD_BYTES: Final = 256 << 20
_MOST_LAYOUTS: Final = 1 << 16
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Waiting:
    numbers: tuple[int, int]
    layout: Layout
    fields: Mapping[str, Field]
    checksum: int
    note: Note


class CacheWriter:
    """Adds samples to a store; use it in a `with` block, which publishes what is left at its end.

    Samples wait in memory until there are enough for a shard. They are safe, and seen by readers, once
    `flush` has returned: after a crash a store has all samples of finished shards and nothing else. Any
    number of writers may work on one store; each process needs its own, and threads take turns with it. Two
    that make the same sample store it twice, which costs space and nothing else.

    Attributes:
        id: Name of the writer, with which its files begin.
        published: Number of samples in finished shards.
        shards: Names of finished shards.
    """

    def __init__(self, folder: str | Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        """Open a store for writing, and make it if it is not there.

        Args:
            folder: Of the store.
            shard_bytes: A shard is written when so much waits; bounds memory and what a crash loses.

        Raises:
            CacheError: The folder is something else or cannot be written; `shard_bytes` is below 1.
        """
        if shard_bytes < 1:
            raise CacheError(f"shard_bytes is {shard_bytes}; allowed: 1 and up")
        self._paths = create_store(folder)
        self._shard_bytes = shard_bytes
        self._waiting: dict[str, _Waiting] = {}
        self._bytes = 0
        self._process = os.getpid()
        self._closed = False
        self.id = ""
        self.published = 0
        self.shards: list[str] = []
        self._lock = self._locked()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Publish what is left, after an error too: what was made before it is good."""
        try:
            self.close()
        except CacheError as second:
            if error is None:
                raise
            error.add_note(f"and what was waiting could not be kept: {second}")

    def put(self, recipe: Recipe, fields: Mapping[str, Field], *, source: str = "", variant: str = "") -> str:
        """Add a sample; its arrays are copied. One that already waits is kept as it was.

        Args:
            recipe: What it is made of, which gives its key.
            fields: Its arrays by name.
            source: Where its media lie, for people; any text.
            variant: Which of several crops or captions of the source it is, for people.

        Returns:
            Its key.

        Raises:
            CacheError: No field, or one without a name; a shard was full and could not be written.
        """
        self.put_as(recipe.key, fields, Note(source, variant, recipe.as_json()))
        return recipe.key

    def put_as(self, key: str, fields: Mapping[str, Field], note: Note) -> None:
        """Add a sample whose key and note are known, as `put` does; for moving samples between shards."""
        self._check_usable()
        if not fields or "" in fields:
            raise CacheError("a sample needs at least one field, and every field a name")
        if key in self._waiting:
            return
        layout = layout_of(dict(fields))
        copied = {
            entry.name: Field(_plain(fields[entry.name].values, entry.numpy_dtype), entry.dtype)
            for entry in layout
        }
        numbers = key_numbers(key)
        waiting = _Waiting(numbers, layout, copied, checksum(numbers, layout, copied), note)
        self._waiting[key] = waiting
        self._bytes += sum(entry.values.nbytes for entry in copied.values())
        if self._bytes >= self._shard_bytes:
            self.flush()

    def flush(self) -> str | None:
        """Publish all samples that wait, as one shard.

        Returns:
            Its name, None when nothing waits.

        Raises:
            CacheError: It cannot be written, such as on a full disk. Nothing is published, no file is left,
                and the samples still wait: `flush` may be called again.
        """
        if not self._waiting:
            return None
        self._check_usable()
        name = f"{self.id}-{len(self.shards):05d}"
        samples = sorted(self._waiting.values(), key=lambda waiting: waiting.numbers)
        layouts = sorted({waiting.layout for waiting in samples})
        if len(layouts) > _MOST_LAYOUTS:
            raise CacheError(f"{len(layouts)} layouts in one shard; allowed: up to {_MOST_LAYOUTS}")
        data, manifest = (self._paths.shards / f"{name}{end}" for end in (SHARD_SUFFIX, MANIFEST_SUFFIX))
        try:
            facts = self._write(data, lambda file: _write_samples(file, samples, layouts))
            self._write(manifest, lambda file: _write_index(file, samples, facts))
        except BaseException:
            manifest.unlink(missing_ok=True)
            data.unlink(missing_ok=True)
            raise
        self.published += len(samples)
        self.shards.append(name)
        self._waiting.clear()
        self._bytes = 0
        return name

    def close(self) -> None:
        """Publish what waits, and be done; a closed writer may be closed again.

        Raises:
            CacheError: As for `flush`, and what waited is lost: call `flush` before, to be able to try again.
        """
        if self._closed or self._process != os.getpid():
            return
        try:
            self.flush()
        finally:
            self._closed = True
            self._lock.release()
            Path(self._lock.lock_file).unlink(missing_ok=True)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the samples that wait to be published."""
        return self._bytes

    def _check_usable(self) -> None:
        if self._process != os.getpid():
            raise CacheError("this writer was made in another process; make one in each process")
        if self._closed:
            raise CacheError("this writer is closed; make another one")

    def _locked(self) -> FileLock:
        """Take an ID, and its lock, which says as long as it is held that this writer lives."""
        try:
            while True:
                self.id = uuid.uuid4().hex[:16]
                path = self._paths.writers / f"{self.id}.lock"
                # Not by thread: a writer may be closed by another one than opened it.
                lock = FileLock(path, thread_local=False)
                lock.acquire()
                if path.exists():
                    return lock
                lock.release()  # a collection took it for a dead writer's, between making and locking it
        except (OSError, NotImplementedError) as error:
            raise write_error(self._paths.writers, error) from error

    def _write(self, final: Path, fill: Callable[[BinaryIO], _T]) -> _T:
        """Fill a file under a temporary name, wait until it is on the disk, rename it."""
        temporary = final.with_name(f".{final.name}{PART_SUFFIX}")
        try:
            with temporary.open("wb") as file:
                made = fill(file)
                file.flush()
                os.fsync(file.fileno())
            publish(temporary, final)
        except OSError as error:
            free = shutil.disk_usage(self._paths.folder).free
            sizes = f"{self._bytes} bytes wait, {free} are free"
            raise CacheError(f"{write_error(final, error)} ({sizes}); nothing of it is kept") from error
        finally:
            temporary.unlink(missing_ok=True)
        return made


def _plain(values: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """A copy in C order, little-endian."""
    return np.array(values, dtype, order="C", copy=True)


def _write_samples(file: BinaryIO, samples: list[_Waiting], layouts: list[Layout]) -> ShardFacts:
    tensors: list[TensorRows] = []
    for number, layout in enumerate(layouts):
        rows = [waiting.fields for waiting in samples if waiting.layout == layout]
        for entry in layout:
            arrays = [fields[entry.name].values for fields in rows]
            shape = (len(arrays), *entry.shape)
            tensors.append(TensorRows(f"{number}/{entry.name}", entry.dtype, shape, arrays))
    header, spans = write_container(file, tensors, {"format": "pt"})
    starts = tuple(
        tuple(spans[f"{number}/{entry.name}"].start for entry in layout)
        for number, layout in enumerate(layouts)
    )
    return ShardFacts(
        bytes=max(span.stop for span in spans.values()),
        header_checksum=xxhash.xxh3_128_hexdigest(header),
        made=round(time.time(), 3),
        layouts=tuple(layouts),
        starts=starts,
    )


def _write_index(file: BinaryIO, samples: list[_Waiting], facts: ShardFacts) -> None:
    number_of = {layout: number for number, layout in enumerate(facts.layouts)}
    layouts = np.array([number_of[waiting.layout] for waiting in samples], np.uint16)
    rows = np.empty(len(samples), np.uint32)
    for number in range(len(facts.layouts)):
        chosen = layouts == number
        rows[chosen] = np.arange(np.count_nonzero(chosen))
    index = {
        "keys": np.array([waiting.numbers for waiting in samples], np.uint64),
        "checksums": np.array([waiting.checksum for waiting in samples], np.uint64),
        "rows": rows,
        "layouts": layouts,
    }
    write_manifest(file, facts, index, [waiting.note for waiting in samples])
