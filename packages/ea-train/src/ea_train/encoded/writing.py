"""Adding encodings to a store while they are made."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torch import Tensor

from ea_data.store import CacheWriter, Field
from ea_data.store.writer import SHARD_BYTES
from ea_dit.text.base import TextStates
from ea_train.encoded.samples import Wanted

SECONDS: Final = 120.0
"""Encodings wait in memory for no longer than this: what is lost when a process is killed."""

_SECOND: Final = "second."


class EncodedWriter:
    """Adds encodings to a store; each only once.

    Args:
        folder: Of the store.
        shard_bytes: A shard is written when so much waits,
        seconds: or when something has waited for so long.

    Attributes:
        made: Number of encodings that were added.

    Raises:
        CacheError: The folder cannot be written.
    """

    def __init__(self, folder: Path, *, shard_bytes: int = SHARD_BYTES, seconds: float = SECONDS) -> None:
        self._writer = CacheWriter(folder, shard_bytes=shard_bytes)
        self._seconds = seconds
        self._since = time.monotonic()
        self._keys: set[str] = set()
        self.made = 0
        self.bytes = 0

    def has(self, wanted: Wanted, role: str) -> bool:
        """Whether this was added here already."""
        return wanted.recipes[role].key in self._keys

    def put(self, wanted: Wanted, role: str, tensors: Mapping[str, Tensor]) -> None:
        """Add an encoding of a sample.

        Args:
            wanted: Of the sample.
            role: What is encoded.
            tensors: By name, without a batch axis.

        Raises:
            CacheError: It cannot be written, such as on a full disk.
        """
        if self.has(wanted, role):
            return
        fields = {name: Field.from_torch(tensor) for name, tensor in tensors.items()}
        variant = role if role == "text" else f"{role}, {wanted.variant}"
        key = self._writer.put(wanted.recipes[role], fields, source=wanted.source, variant=variant)
        self._keys.add(key)
        self.made += 1
        self.bytes += sum(field.values.nbytes for field in fields.values())
        if time.monotonic() - self._since > self._seconds:
            self.flush()

    def flush(self) -> None:
        """Publish what waits.

        Raises:
            CacheError: It cannot be written; it still waits.
        """
        self._writer.flush()
        self._since = time.monotonic()

    def close(self) -> None:
        """Publish what waits, and be done.

        Raises:
            CacheError: It cannot be written, and is lost.
        """
        self._writer.close()


def text_fields(states: TextStates, prefix: str = "") -> dict[str, Tensor]:
    """States of texts as fields with a batch axis, those of a second encoder among them."""
    found = {f"{prefix}states": states.states_BLE, f"{prefix}mask": states.mask_BL}
    return found if states.second is None else found | text_fields(states.second, prefix + _SECOND)


def text_states(fields: Mapping[str, Tensor], prefix: str = "") -> TextStates:
    """The inverse."""
    deeper = prefix + _SECOND
    second = text_states(fields, deeper) if f"{deeper}states" in fields else None
    return TextStates(fields[f"{prefix}states"], fields[f"{prefix}mask"].bool(), second)
