"""Marks of networks that always mean the same weights, for keys of results and for manifests."""

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from ea_data.control.networks.source import Source, pinned
from ea_data.media.errors import media_errors
from ea_data.store import digest_file, digest_text

__all__ = ["network_mark", "unpinned"]

_PINNED: Final = re.compile(r".+@[0-9a-f]{40}")
_DIGITS: Final = 16


def network_mark(weights: str) -> str:
    """OWNER/NAME@COMMIT of the hub; of files on disk their name and a digest of their bytes.

    A directory that is moved keeps its mark, and one that is changed gets another.

    Args:
        weights: A directory, a file, or OWNER/NAME[@REVISION] whose files are on disk.

    Raises:
        ValueError: Neither something that exists nor a name of the hub, or it cannot be read.
    """
    path = Source.of("weights", weights).path
    if path is None:
        return pinned("weights", weights)
    path = path.resolve()
    with media_errors(path, "read"):
        files = [path] if path.is_file() else sorted(_files(path))
        states = tuple((str(file), (stat := file.stat()).st_size, stat.st_mtime_ns) for file in files)
    return f"{path.name}#{_digest(path, states)[:_DIGITS]}"


def unpinned(stage: str, networks: Iterable[str]) -> Iterator[str]:
    """A line for each network of the hub whose name may mean other weights tomorrow.

    Args:
        stage: Its name.
        networks: That it uses; their files are on disk.
    """
    for weights in networks:
        if Source.of(f"{stage}.weights", weights).path is None and not _PINNED.fullmatch(weights):
            mark = network_mark(weights)
            which = f"this run uses {mark}" if mark != weights else "the run cannot tell which commit it uses"
            yield f"{stage}: {weights} names no commit and may change; {which}"


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


# A run asks for it several times, and files of some gigabytes take seconds each time.
@lru_cache(maxsize=64)
def _digest(path: Path, states: tuple[tuple[str, int, int], ...]) -> str:
    names = [name for name, _, _ in states]
    digests = {Path(name).relative_to(path).as_posix(): digest_file(Path(name)) for name in names}
    return digest_text(json.dumps(digests, sort_keys=True))
