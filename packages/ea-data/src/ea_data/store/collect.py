"""Removing what a store does not need: leftovers, damage, second copies, samples that nobody wants.

It may run while others read and write. What a living writer is at is left alone: every writer holds a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout

from ea_data.store.contents import open_shard
from ea_data.store.errors import CacheError
from ea_data.store.layout import PART_SUFFIX, StorePaths, living_writers, open_paths, write_error, writer_of
from ea_data.store.manifest import MANIFEST_SUFFIX, SHARD_SUFFIX
from ea_data.store.sieve import GarbageReport, Removal, Sieve
from ea_data.store.writer import CacheWriter

__all__ = ["GarbageReport", "Removal", "collect_garbage"]


def collect_garbage(
    folder: str | Path,
    *,
    keep: Collection[str] | None = None,
    deep: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GarbageReport:
    """Remove leftovers of writers that died and shards whose manifest cannot be used; on request more.

    A shard of which only some samples go is written anew without them, before it is removed.

    Args:
        folder: Of the store.
        keep: Keys; all other samples go. None keeps all.
        deep: Read every sample; damaged ones go, and second copies of good ones.
        dry_run: Say what would go, and change nothing.
        progress: Is told after each shard how many are done, and how many there are.

    Raises:
        CacheError: The folder is no store, another collection is at it, or something cannot be read or
            written; what the system does not let us read may be good, so a collection stops there.
    """
    paths = open_paths(folder)
    report = GarbageReport()
    with _alone(paths):
        try:
            _remove_leftovers(paths, report, dry_run=dry_run)
            if keep is not None or deep:
                kept = None if keep is None else frozenset(keep)
                with nullcontext() if dry_run else CacheWriter(paths.folder) as writer:
                    Sieve(paths, kept, writer, report, deep=deep).run(progress)
        except OSError as error:
            raise write_error(paths.folder, error) from error
    return report


@contextmanager
def _alone(paths: StorePaths) -> Iterator[None]:
    lock = FileLock(paths.folder / "gc.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise CacheError(f"another collection is at {paths.folder}; wait for it") from None
    except (OSError, NotImplementedError) as error:
        raise write_error(paths.folder, error) from error
    try:
        yield
    finally:
        lock.release()


def _remove_leftovers(paths: StorePaths, report: GarbageReport, *, dry_run: bool) -> None:
    # Files first: whatever is listed has a writer whose lock was there before it.
    files = sorted(paths.shards.iterdir())
    alive = living_writers(paths, remove_dead=not dry_run)
    for path in files:
        if writer_of(path.name) not in alive:
            for file, reason in _leftovers(paths, path):
                report.remove(paths, file, reason, dry_run=dry_run)


def _leftovers(paths: StorePaths, path: Path) -> Iterator[tuple[Path, str]]:
    if path.name.endswith(PART_SUFFIX):
        yield path, "its writer died while it wrote this"
    elif path.suffix == SHARD_SUFFIX and not path.with_suffix(MANIFEST_SUFFIX).exists():
        yield path, "it has no manifest"
    elif path.suffix == MANIFEST_SUFFIX:
        try:
            open_shard(paths, path.stem)
        except CacheError as error:
            if isinstance(error.__cause__, OSError):  # it may be good, and readable another time
                raise
            yield path, str(error)
            yield path.with_suffix(SHARD_SUFFIX), "its manifest cannot be used"
