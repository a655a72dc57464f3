"""What is done with encodings that a store did not have: they are counted, and added on request."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from ea_data.store import CacheError
from ea_train.encoded.samples import WANTED, Wanted
from ea_train.encoded.writing import EncodedWriter


class KeepEncodings:
    """Counts what had to be encoded, says so at the first, tenth, hundredth ..., and may add it to the store.

    A store that cannot be written, such as on a full disk, is told once; then nothing more is added, and
    training goes on.

    Args:
        folder: Of the store.
        fill: Add it.
        tell: Called with lines for people.

    Attributes:
        count: How many encodings were missing.
    """

    def __init__(self, folder: Path, *, fill: bool, tell: Callable[[str], None] | None = None) -> None:
        self.folder, self.fill = folder, fill
        self.count = 0
        self._tell = _say if tell is None else tell
        self._next = 1
        self._writer: EncodedWriter | None = None
        self._wanted: Sequence[Wanted] = ()
        self._fps: Tensor | None = None

    def begin(self, batch: Mapping[str, Any]) -> None:
        """Take note of the batch that the following encodings are of."""
        self._wanted = batch.get(WANTED, ())
        self._fps = batch.get("fps")

    def made(self, role: str, there: Sequence[bool], start: int, tensors: Mapping[str, Tensor]) -> None:
        """Encodings that were made.

        Args:
            role: What is encoded.
            there: For each sample of the batch whether it was in the store.
            start: First sample that was encoded.
            tensors: With a batch axis.
        """
        count = len(next(iter(tensors.values())))
        new = [row for row in range(count) if not there[start + row]]
        self.count += len(new)
        if self.count >= self._next:
            self._say()
        if not self.fill or not self._wanted:
            return
        try:
            if self._writer is None:
                self._writer = EncodedWriter(self.folder)
            for row in new:
                fields = {name: tensor[row] for name, tensor in tensors.items()}
                if role == "video" and self._fps is not None:
                    fields["fps"] = self._fps[start + row : start + row + 1].float()
                self._writer.put(self._wanted[start + row], role, fields)
        except CacheError as error:
            self._give_up(error)

    def close(self) -> None:
        """Publish what was added."""
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
        except CacheError as error:
            self._give_up(error)

    def _give_up(self, error: CacheError) -> None:
        self.fill = False
        self._tell(f"cache: {error}; no more is added to it, and training goes on")
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(CacheError):  # there may be room for a small rest, and its lock goes
                writer.close()

    def _say(self) -> None:
        while self._next <= self.count:
            self._next *= 10
        added = " and added to it" if self.fill else ""
        number = "1 encoding was" if self.count == 1 else f"{self.count} encodings were"
        self._tell(f"cache: {number} not in {self.folder} so far; encoded live{added}")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
