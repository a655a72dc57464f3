"""Encoded texts on disk, found again by their content.

An entry is one safetensors file whose name is the hash of the encoder's fingerprint and the text, so a cache
may be shared by encoders, and nothing in it can be out of date. Files are written whole or not at all.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ea_dit.text.base import TextEncoder, TextStates, concatenate
from ea_kernels.runtime.files import open_safetensors, write_safetensors

_WHOLE_BYTES = 32 * 2**20
_SAMPLES = 64
_SAMPLE_BYTES = 2**16
_SECOND = "second."
_LOG = logging.getLogger(__name__)


def fingerprint_of(directories: Iterable[Path], **settings: object) -> str:
    """Fingerprint of an encoder by what is in its directories.

    Small files count with every byte. Of weights the size, the beginning and the end (in safetensors the
    header, which has every tensor's name and shape) and 64 evenly spread samples count: reading tens of
    gigabytes would take longer than encoding.

    Args:
        directories: Of the model and of its tokenizer.
        **settings: Whatever else changes the states, such as length, mask rule, cleaning and dtype.

    Raises:
        ValueError: If a directory is missing.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for directory in directories:
        if not directory.is_dir():
            raise ValueError(f"{directory}: no such directory")
        for file in sorted(path for path in directory.rglob("*") if path.is_file()):
            size = file.stat().st_size
            digest.update(f"\0{file.relative_to(directory).as_posix()}\0{size}\0".encode())
            for part in _parts(file, size):
                digest.update(part)
        digest.update(b"\0\0")
    return digest.hexdigest()


def _parts(file: Path, size: int) -> Iterator[bytes]:
    with file.open("rb") as handle:
        if size <= _WHOLE_BYTES:
            yield handle.read()
            return
        for sample in range(_SAMPLES + 1):
            handle.seek((size - _SAMPLE_BYTES) * sample // _SAMPLES)
            yield handle.read(_SAMPLE_BYTES)


class TextCache:
    """Entries of one encoder in a directory.

    Args:
        directory: Where entries lie; made when the first is written.
        fingerprint: Of the encoder, see `fingerprint_of`.
    """

    def __init__(self, directory: str | Path, fingerprint: str) -> None:
        self.directory = Path(directory)
        self.fingerprint = fingerprint

    def path_of(self, text: str) -> Path:
        """File of a text's entry, which need not exist."""
        key = hashlib.sha256(f"{self.fingerprint}\0{text}".encode()).hexdigest()
        return self.directory / key[:2] / f"{key}.safetensors"

    def read(self, text: str) -> TextStates | None:
        """Returns the states of one text on the CPU, None if there is no readable entry."""
        path = self.path_of(text)
        if not path.is_file():
            return None
        try:
            with open_safetensors(path) as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return _from_tensors(tensors)
        except (KeyError, ValueError) as error:
            _LOG.warning("an entry of the text cache is encoded again: %s", error)
            return None

    def write(self, text: str, states: TextStates) -> Path:
        """Writes the states of one text (a batch of one); returns the file."""
        if len(states) != 1:
            raise ValueError(f"an entry holds the states of one text, got {len(states)}")
        path = self.path_of(text)
        write_safetensors(path, _to_tensors(states), {"text": text, "encoder": self.fingerprint})
        return path


class CachedTextEncoder:
    """Encodes only texts that the cache does not have.

    Args:
        make: Makes the encoder; called when the first new text comes, so that a run whose texts are all
            known never loads it.
        cache: Where entries are.
        device: Where states are put.
    """

    def __init__(
        self, make: Callable[[], TextEncoder], cache: TextCache, *, device: str | torch.device = "cpu"
    ) -> None:
        self.make = make
        self.cache = cache
        self.device = device
        self._encoder: TextEncoder | None = None

    def encode(self, texts: Sequence[str]) -> TextStates:
        """Encodes texts; new ones in one batch, each once.

        Raises:
            ValueError: If there is no text.
        """
        if not texts:
            raise ValueError("texts must hold at least one text")
        known = {text: self.cache.read(text) for text in dict.fromkeys(texts)}
        new = [text for text, states in known.items() if states is None]
        if new:
            self._encoder = self._encoder or self.make()
            encoded = self._encoder.encode(new).to("cpu")
            for index, text in enumerate(new):
                known[text] = encoded[index : index + 1]
                self.cache.write(text, encoded[index : index + 1])
        return concatenate(*(states for text in texts if (states := known[text]) is not None)).to(self.device)


def _to_tensors(states: TextStates, prefix: str = "") -> dict[str, Tensor]:
    tensors = {f"{prefix}states": states.states_BLE, f"{prefix}mask": states.mask_BL}
    return tensors if states.second is None else tensors | _to_tensors(states.second, prefix + _SECOND)


def _from_tensors(tensors: dict[str, Tensor], prefix: str = "") -> TextStates:
    deeper = prefix + _SECOND
    second = _from_tensors(tensors, deeper) if f"{deeper}states" in tensors else None
    return TextStates(tensors[f"{prefix}states"], tensors[f"{prefix}mask"], second)
