"""Writing a folder of samples: in several processes, continued where it was stopped."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from ea_data.media import MediaError, write_text
from ea_data.synthetic.export import MANIFEST_NAME, claim
from ea_data.synthetic.samples import Plan, make_sample, read_sample
from ea_data.workers import begin_worker

__all__ = ["Written", "write_samples"]

_VERSION: Final = 1
"""Raised when the same plan begins to give other samples."""
_MAX_COUNT: Final = 10_000_000
_MAX_WORKERS: Final = 256
_BLOCK: Final = 64


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was done.

    Attributes:
        manifest: The path of `metadata.jsonl`.
        made: Samples that were written.
        kept: Samples that were there and whole.
    """

    manifest: Path
    made: int
    kept: int


def write_samples(
    folder: str | Path,
    plan: Plan,
    count: int,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write the first `count` samples of a plan, and a `metadata.jsonl` that names them.

    Every file appears complete or not at all, a record with hashes follows the files of each sample, and the
    manifest comes last. After an end of any kind the same call continues: samples whose record and files
    agree are kept, all others are made again. The files are the same for any number of workers.

    With workers, the code that calls this has to stand below `if __name__ == "__main__":` in a script.

    Args:
        folder: Output; made if its parent exists.
        plan: What to write.
        count: Number of samples, 1 to 10,000,000. It may be another one when a folder is continued.
        workers: Processes that make samples, 1 to 256; 1 is the calling process itself.
        progress: Called after each sample with (done, total).

    Raises:
        ValueError: A number out of range.
        MediaError: The folder cannot be written, is written by another process at this time, or holds samples
            of another plan; or a worker has died (a ValueError too).
    """
    for name, value, most in (("count", count, _MAX_COUNT), ("workers", workers, _MAX_WORKERS)):
        if not 1 <= value <= most:
            raise ValueError(f"{name} is {value}; allowed: 1 to {most}")
    folder = Path(folder)
    with _opened(folder, plan):
        made, rows = 0, []
        with _mapper(workers) as each:
            for index, (row, fresh) in enumerate(each(partial(_make_or_keep, folder, plan), range(count))):
                rows.append(json.dumps(row, ensure_ascii=False))
                made += fresh
                if progress is not None:
                    progress(index + 1, count)
        manifest = write_text(folder / MANIFEST_NAME, "".join(f"{row}\n" for row in rows))
    return Written(manifest=manifest, made=made, kept=count - made)


def _make_or_keep(folder: Path, plan: Plan, index: int) -> tuple[dict[str, Any], bool]:
    """The row of a sample, and whether it had to be made."""
    row = read_sample(folder, plan, index)
    return (make_sample(folder, plan, index), True) if row is None else (row, False)


@contextmanager
def _opened(folder: Path, plan: Plan) -> Iterator[None]:
    """Make the folder, hold it for this process alone, and remove what a killed one left half-written."""
    if not folder.parent.is_dir():
        raise MediaError(f"cannot write {folder}: the folder {folder.parent} does not exist")
    try:
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise MediaError(f"cannot write {folder}: another process is writing it") from None
    except OSError as error:
        raise MediaError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        claim(folder, {"version": _VERSION, **asdict(plan)})
        for name in ("", *plan.folders()):
            (folder / name).mkdir(exist_ok=True)
            for left in (folder / name).glob(".*.part.*"):
                left.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


Each = Callable[[Callable[[int], tuple[dict[str, Any], bool]], range], Iterator[tuple[dict[str, Any], bool]]]


@contextmanager
def _mapper(workers: int) -> Iterator[Each]:
    """`map`, in order, in so many processes; a block at a time, as a million tasks would need much memory."""
    if workers == 1:
        yield map
        return
    # Spawned: forks of a process with threads can hang.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=begin_worker)

    def each(
        function: Callable[[int], tuple[dict[str, Any], bool]], indices: range
    ) -> Iterator[tuple[dict[str, Any], bool]]:
        for start in range(0, len(indices), _BLOCK * workers):
            yield from pool.map(function, indices[start : start + _BLOCK * workers])

    try:
        yield each
    except BrokenProcessPool:
        raise MediaError("a worker died, perhaps for lack of memory; the same command continues") from None
    finally:
        pool.shutdown(cancel_futures=True)
