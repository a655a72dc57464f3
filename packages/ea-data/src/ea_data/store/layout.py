"""Which files a store has; making a store, listing its shards, telling who writes.

store.json                  says that this is a store; written once, never changed
shards/NAME.safetensors     samples, readable by anything that reads safetensors
shards/NAME.manifest        what is in them; a shard without one does not exist
writers/ID.lock             held by a living writer; NAME begins with the ID of its writer
gc.lock                     held by a collection
"""

import json
import os
import uuid
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from ea_data.store.container import publish
from ea_data.store.errors import CacheError
from ea_data.store.manifest import MANIFEST_SUFFIX

__all__ = [
    "PART_SUFFIX",
    "StorePaths",
    "create_store",
    "living_writers",
    "open_paths",
    "write_error",
    "writer_of",
]

PART_SUFFIX: Final = ".part"
_FORMAT: Final = {"format": "ea-cache", "version": 1}


class StorePaths:
    """The folders and files of a store.

    Attributes:
        folder: Of the store.
        shards: Folder of data files and manifests.
        writers: Folder of locks of writers.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.shards = self.folder / "shards"
        self.writers = self.folder / "writers"

    @property
    def marker(self) -> Path:
        """The file that says what the folder is."""
        return self.folder / "store.json"

    def shard_names(self) -> list[str]:
        """Names of all shards that have a manifest, sorted.

        Raises:
            CacheError: The folder cannot be read.
        """
        try:
            with os.scandir(self.shards) as entries:
                names = [entry.name for entry in entries]
        except OSError as error:
            raise CacheError(f"cannot read {self.shards}: {error.strerror}") from error
        ends = MANIFEST_SUFFIX
        return sorted(n.removesuffix(ends) for n in names if n.endswith(ends) and not n.startswith("."))


def create_store(folder: str | Path) -> StorePaths:
    """Make an empty store, or open the one that is there; any number of processes may do so at once.

    Raises:
        CacheError: The folder has other things in it, is another version, or cannot be written.
    """
    paths = StorePaths(folder)
    if paths.marker.exists():
        return open_paths(folder)
    try:
        paths.folder.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in paths.folder.iterdir() if not _is_ours(entry.name)]
        if others:
            raise CacheError(f"{folder} is no store and holds {min(others)!r}; name a new or empty folder")
        paths.shards.mkdir(exist_ok=True)
        paths.writers.mkdir(exist_ok=True)
        temporary = paths.folder / f".store.json.{uuid.uuid4().hex[:12]}{PART_SUFFIX}"
        try:
            with temporary.open("w", encoding="ascii") as file:
                file.write(json.dumps(_FORMAT) + "\n")
                file.flush()
                os.fsync(file.fileno())
            publish(temporary, paths.marker)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(paths.folder, error) from error
    return paths


def open_paths(folder: str | Path) -> StorePaths:
    """The paths of a store that is there.

    Raises:
        CacheError: It is none, or of another version.
    """
    paths = StorePaths(folder)
    try:
        content = json.loads(paths.marker.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CacheError(f"{folder} is no store: it has no {paths.marker.name}") from None
    except (OSError, ValueError) as error:
        raise CacheError(f"{paths.marker} cannot be read: {error}") from error
    if content != _FORMAT:
        raise CacheError(f"{paths.marker} says {content}; this program reads {_FORMAT}")
    return paths


def living_writers(paths: StorePaths, *, remove_dead: bool = False) -> frozenset[str]:
    """IDs of writers that hold their locks; on request the lock files of others go."""
    alive: set[str] = set()
    for path in paths.writers.glob("*.lock"):
        lock = FileLock(path)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            alive.add(path.stem)
            continue
        if remove_dead:
            path.unlink(missing_ok=True)
        lock.release()
    return frozenset(alive)


def writer_of(file: str) -> str:
    """The ID of the writer of a shard, or of one of its files."""
    return file.lstrip(".").partition("-")[0]


def write_error(path: Path, error: OSError | NotImplementedError) -> CacheError:
    """What to say when something cannot be written, or a file system has no locks."""
    return CacheError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}")


def _is_ours(name: str) -> bool:
    return name in ("shards", "writers", "store.json", "gc.lock") or name.startswith(".store.json.")
