"""Taking samples out of shards: those that stay are written anew, and then the old shard goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ea_data.store.contents import Shard, open_shard
from ea_data.store.errors import CacheError
from ea_data.store.layout import StorePaths, living_writers, writer_of
from ea_data.store.manifest import MANIFEST_SUFFIX, SHARD_SUFFIX, Note
from ea_data.store.reader import DamageError, ShardFiles, UnreadableError
from ea_data.store.verify import damage_outside_samples
from ea_data.store.writer import SHARD_BYTES, CacheWriter

__all__ = ["GarbageReport", "Removal", "Sieve"]


@dataclass(frozen=True)
class Removal:
    """A file that was removed, or would be.

    Attributes:
        file: Its place in the store.
        bytes: Its size.
        reason: Why.
    """

    file: str
    bytes: int
    reason: str


@dataclass
class GarbageReport:
    """What a collection did, or would do.

    Attributes:
        removed: Files, those of shards that were written anew among them.
        dropped: Number of samples that are gone, by reason.
        rewritten: Samples that were copied out of a shard of which others had to go.
    """

    removed: list[Removal] = field(default_factory=list[Removal])
    dropped: dict[str, int] = field(default_factory=dict[str, int])
    rewritten: int = 0

    def remove(self, paths: StorePaths, file: Path, reason: str, *, dry_run: bool) -> None:
        """Remove a file, if it is there, and note it."""
        try:
            size = file.stat().st_size
            if not dry_run:
                file.unlink()
        except FileNotFoundError:
            return
        self.removed.append(Removal(str(file.relative_to(paths.folder)), size, reason))


class Sieve:
    """Goes through the samples of a store."""

    def __init__(
        self,
        paths: StorePaths,
        keep: frozenset[str] | None,
        writer: CacheWriter | None,
        report: GarbageReport,
        *,
        deep: bool,
    ) -> None:
        """Prepare.

        Args:
            paths: Of the store.
            keep: Keys of samples that stay; None for all.
            writer: Writes samples anew; without one nothing is changed.
            report: Is told what happens.
            deep: Whether damaged samples and second copies go.
        """
        self._paths = paths
        self._keep = keep
        self._writer = writer
        self._report = report
        self._seen: set[str] | None = set() if deep else None
        self._files = ShardFiles(paths.shards)
        self._copied: list[Shard] = []

    def run(self, progress: Callable[[int, int], None]) -> None:
        """Look at every shard that has no living writer."""
        names = self._paths.shard_names()
        ours = {self._writer.id} if self._writer else set[str]()
        alive = living_writers(self._paths) - ours
        for done, name in enumerate(names, 1):
            if writer_of(name) not in alive:
                try:
                    shard = open_shard(self._paths, name)
                except CacheError:  # a leftover, in a dry run; or removed by hand a moment ago
                    continue
                self._shard(shard)
            progress(done, len(names))
        self._finish()

    def _shard(self, shard: Shard) -> None:
        verdicts = [self._verdict(shard, sample) for sample in range(len(shard))]
        reasons = [verdict for verdict in verdicts if verdict]
        if not reasons and (self._seen is None or not damage_outside_samples(shard)):
            return
        for reason in reasons:
            self._report.dropped[reason] = self._report.dropped.get(reason, 0) + 1
        staying = [sample for sample, verdict in enumerate(verdicts) if not verdict]
        if not staying:
            self._drop(shard)
            return
        self._report.rewritten += len(staying)
        self._copied.append(shard)
        if self._writer is not None:
            notes = _notes(shard)
            for sample in staying:
                self._copy(shard, sample, notes[sample], self._writer)
            if self._writer.waiting_bytes > SHARD_BYTES // 2:
                self._finish()

    def _copy(self, shard: Shard, sample: int, note: Note, writer: CacheWriter) -> None:
        try:
            fields = shard.read(self._files, sample)
        except UnreadableError as error:
            raise _stopped(shard, error) from error
        except DamageError:  # without `deep`, this is where it is seen
            self._report.rewritten -= 1
            self._report.dropped["damaged"] = self._report.dropped.get("damaged", 0) + 1
            return
        writer.put_as(shard.key(sample), fields, note)

    def _verdict(self, shard: Shard, sample: int) -> str:
        """Why a sample goes; empty for one that stays."""
        key = shard.key(sample)
        if self._keep is not None and key not in self._keep:
            return "not wanted"
        if self._seen is None:
            return ""
        if key in self._seen:
            return "second copy"
        if not _is_good(shard, self._files, sample):
            return "damaged"
        self._seen.add(key)
        return ""

    def _finish(self) -> None:
        """Publish copies, and only then remove what they were copied from."""
        if self._writer is not None:
            self._writer.flush()
        for shard in self._copied:
            self._drop(shard)
        self._copied.clear()

    def _drop(self, shard: Shard) -> None:
        # The manifest first: a shard without one does not exist.
        for end in (MANIFEST_SUFFIX, SHARD_SUFFIX):
            path = self._paths.shards / f"{shard.name}{end}"
            self._report.remove(self._paths, path, "samples of it had to go", dry_run=self._writer is None)


def _notes(shard: Shard) -> list[Note]:
    """Its notes; empty ones where they are damaged, since the numbers are dearer than their note."""
    try:
        return shard.all_notes()
    except CacheError:
        return [Note("", "", {})] * len(shard)


def _stopped(shard: Shard, error: UnreadableError) -> CacheError:
    return CacheError(f"the collection stops at shard {shard.name}: {error}")


def _is_good(shard: Shard, files: ShardFiles, sample: int) -> bool:
    try:
        shard.read(files, sample)
    except UnreadableError as error:
        raise _stopped(shard, error) from error
    except DamageError:
        return False
    return True
