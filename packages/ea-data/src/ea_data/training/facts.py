"""What has to be known of every file before an order of batches can be made: its size and its length."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from ea_data.manifest import Entry
from ea_data.media import Limits, MediaError, VideoReader, picture_size, write_text

__all__ = ["FileFacts", "gather_facts", "probe_facts"]

Progress = Callable[[int, int], None]
Kind = Literal["video", "image"]

_VERSION: Final = 1
_AT_ONCE: Final = 4


class FileFacts(NamedTuple):
    """A file as it is shown: upright, with square pixels.

    Attributes:
        frames: 1 for a picture.
        height: Pixels.
        width: Pixels.
    """

    frames: int
    height: int
    width: int


def probe_facts(path: Path, kind: Kind, limits: Limits) -> FileFacts:
    """Look at a file: the header of a picture; all packets and the first frame of a video.

    Raises:
        MediaError: Not such a file, damaged, or out of bounds.
    """
    if kind == "image":
        return FileFacts(1, *picture_size(path, limits=limits))
    with VideoReader(path, limits=limits, threads=1) as reader:
        height, width, _ = reader[0].shape
        return FileFacts(len(reader), height, width)


def gather_facts(
    entries: Sequence[Entry],
    limits: Limits,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[FileFacts | MediaError]:
    """Size and length of every file: what its row says, or else what the file does.

    Args:
        entries: Rows.
        limits: Bounds of files.
        cache: JSON file in which findings are kept; a file that has changed since is looked at again. None
            keeps nothing.
        progress: Called with (done, total) of the files that have to be looked at.

    Returns:
        For each row its facts, or why there are none.

    Raises:
        MediaError: The cache is not one, or cannot be written.
    """
    stated = [_stated(entry) for entry in entries]
    asked: list[tuple[Path, Kind]] = [
        (entry.path, entry.type) for entry, facts in zip(entries, stated, strict=True) if facts is None
    ]
    unknown: list[tuple[Path, Kind]] = list(dict.fromkeys(asked))
    kept = _read_cache(cache) if cache is not None else {}
    stamps = {path: _stamp(path) for path, _ in unknown} if cache is not None else {}
    found: dict[tuple[Path, Kind], FileFacts | MediaError] = {}
    for path, kind in unknown:
        stamp, *numbers = kept.get(f"{kind} {path}", [None])
        if stamp is not None and stamp == stamps[path]:
            found[path, kind] = FileFacts(*numbers)
    missing = [item for item in unknown if item not in found]
    for done, (item, facts) in enumerate(_probe_all(missing, limits), start=1):
        found[item] = facts
        if progress is not None:
            progress(done, len(missing))
    if cache is not None and missing:
        _write_cache(cache, kept, found, stamps)
    return [facts or found[entry.path, entry.type] for entry, facts in zip(entries, stated, strict=True)]


def _stated(entry: Entry) -> FileFacts | None:
    frames = 1 if entry.type == "image" else entry.facts.num_frames
    height, width = entry.facts.height, entry.facts.width
    return None if frames is None or height is None or width is None else FileFacts(frames, height, width)


def _probe_all(
    items: Sequence[tuple[Path, Kind]], limits: Limits
) -> Iterable[tuple[tuple[Path, Kind], FileFacts | MediaError]]:
    def probe(item: tuple[Path, Kind]) -> FileFacts | MediaError:
        try:
            return probe_facts(*item, limits)
        except MediaError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:  # waiting for disks; decoders let go of the interpreter
        yield from zip(items, pool.map(probe, items), strict=True)


def _stamp(path: Path) -> str | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return f"{status.st_size} {status.st_mtime_ns}"


def _read_cache(path: Path) -> dict[str, list[Any]]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = content["files"] if content["version"] == _VERSION else {}
        whole = all(len(facts) == 4 and min(facts[1:]) >= 1 for facts in files.values())
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        whole, files = False, {}
    if not whole:
        raise MediaError(
            f"cannot read {path}: not a file of kept sizes and lengths; remove it, or name another"
        )
    return files


def _write_cache(
    path: Path,
    kept: dict[str, list[Any]],
    found: dict[tuple[Path, Kind], FileFacts | MediaError],
    stamps: dict[Path, str | None],
) -> None:
    files = dict(kept)
    for (file, kind), facts in found.items():
        if isinstance(facts, FileFacts) and stamps[file] is not None:
            files[f"{kind} {file}"] = [stamps[file], *facts]
    write_text(path, json.dumps({"version": _VERSION, "files": files}))
