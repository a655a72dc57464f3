"""Reading samples out of data files, checked: what is given was written, or there is an error."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.store.fields import Field
from ea_data.store.index import Place
from ea_data.store.manifest import SHARD_SUFFIX, ShardFacts, checksum

__all__ = ["DamageError", "ShardFiles", "ShardGoneError", "UnreadableError"]

_MOST_OPEN: Final = 128


class DamageError(Exception):
    """A sample cannot be read as it was written; the message is the reason."""


class ShardGoneError(DamageError):
    """The data file is not there."""


class UnreadableError(DamageError):
    """The system does not let the data file be read; another time it may."""


class _OpenFile:
    """A file that is closed when nobody uses it any more."""

    def __init__(self, path: Path) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


def _read_into(values: NDArray[Any], descriptor: int, start: int) -> bool:
    """Fill an array from a file; False if the file ends before."""
    view = values.reshape(-1).view(np.uint8).data
    done = os.preadv(descriptor, [view], start)
    while done < values.nbytes:  # a call gives at most 2 GiB
        more = os.preadv(descriptor, [view[done:]], start + done)
        if not more:
            return False
        done += more
    return True


class ShardFiles:
    """The data files of a folder, of which the last used stay open; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, name: str, facts: ShardFacts, place: Place, key: tuple[int, int]) -> dict[str, Field]:
        """Read one sample and check it.

        Args:
            name: Of its shard.
            facts: Of its shard.
            place: In its shard.
            key: Its two halves.

        Returns:
            Fields by name, in memory of their own.

        Raises:
            DamageError: It is not what was written.
        """
        layout, starts = facts.layouts[place.layout], facts.starts[place.layout]
        try:
            file = self._file(name)
            fields: dict[str, Field] = {}
            for entry, start in zip(layout, starts, strict=True):
                values = np.empty(entry.shape, entry.numpy_dtype)
                # A private copy: what is checked below cannot change any more.
                if not _read_into(values, file.descriptor, start + place.row * values.nbytes):
                    raise DamageError(f"the file ends inside {entry.name}")
                fields[entry.name] = Field(values, entry.dtype)
        except FileNotFoundError as error:
            raise ShardGoneError("the data file is missing") from error
        except OSError as error:
            raise UnreadableError(f"the data file cannot be read ({error.strerror})") from error
        if checksum(key, layout, fields) != place.checksum:
            raise DamageError("the checksum is wrong")
        return fields

    def forget(self) -> None:
        """Close what is open, once nobody reads from it."""
        with self._lock:
            self._open.clear()

    def _file(self, name: str) -> _OpenFile:
        with self._lock:
            file = self._open.pop(name, None) or _OpenFile(self._folder / f"{name}{SHARD_SUFFIX}")
            self._open[name] = file
            if len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
            return file
