"""Weights beside those of a model's directory: V1's motion modules and personalised checkpoints."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ea_app.api.inputs import Source
from ea_app.fingerprint import fingerprint_of
from ea_app.options import InputError, concerning

_FILE_KEYS = ("motion_module", "transformer_weights")
# Options that name such weights, by key; `load_pipeline` calls them the same.
WEIGHT_KEYS = (*_FILE_KEYS, "lora", "lora_unmatched")
"""Options about weights, by key; for the LoRAs among them see `ea_app.api.loras`."""


def find_weights(given: Mapping[str, Any]) -> dict[str, Source]:
    """The weights that options name, hashed as a model's fingerprint is.

    Args:
        given: Paths of files or folders by option key; None and other keys are passed over.

    Raises:
        InputError: One does not exist or cannot be read.
    """
    return {key: source_of(_name(key), given[key]) for key in _FILE_KEYS if given.get(key) is not None}


def recorded_weights(record: Mapping[str, Any], folder: Path) -> dict[str, Source]:
    """Find the weights of a record again and make sure that they are what they were.

    Args:
        record: Result of `ea_app.api.record.read_record`.
        folder: Where relative paths start.

    Raises:
        InputError: One is missing or has changed.
    """
    sources = {}
    for key, entry in record.get("weights", {}).items():
        path = Path(os.path.normpath(folder.absolute() / entry["path"]))
        sources[key] = source_of(_name(key), path)
        if sources[key].xxh3 != entry["xxh3"]:
            raise InputError(
                _name(key), f"{path} has changed since; these are not the weights it was made with"
            )
    return sources


def paths_of(weights: Mapping[str, Source]) -> dict[str, Any]:
    """Weights as keyword arguments of `Engine.load`."""
    return {key: source.path for key, source in weights.items()}


def weight_entries(weights: Mapping[str, Source]) -> dict[str, dict[str, str]]:
    """Weights as a record has them: path and hash by option key."""
    return {key: {"path": str(source.path), "xxh3": source.xxh3} for key, source in weights.items()}


def are_weight_entries(entries: object) -> bool:
    """Whether a part of a record is what `weight_entries` makes."""
    if not isinstance(entries, dict) or not set(entries) <= set(_FILE_KEYS):
        return False
    kinds = {"path": str, "xxh3": str}
    return all(
        isinstance(entry, dict) and {key: type(value) for key, value in entry.items()} == kinds
        for entry in entries.values()
    )


@contextmanager
def concerning_weights(given: Mapping[str, Any]) -> Iterator[None]:
    """Turn a ValueError into an `InputError` about the weights that it names, or else about the model.

    Args:
        given: Paths by option key; None for those that were not given.
    """
    try:
        yield
    except ValueError as error:
        named = (key for key in _FILE_KEYS if given.get(key) is not None and str(given[key]) in str(error))
        with concerning(_name(next(named, "model"))):
            raise


def _name(key: str) -> str:
    return key.replace("_", "-")


def source_of(option: str, given: str | Path, beside: Sequence[str] = ()) -> Source:
    """A file or folder of weights, hashed as a model's fingerprint is.

    Args:
        option: What named it, for messages.
        given: Its path.
        beside: Names of files next to it that belong to it where they are there.

    Raises:
        InputError: It does not exist or cannot be read.
    """
    path = Path(given).expanduser().absolute()
    try:
        if not path.exists():
            raise InputError(option, f"{given} does not exist")
        if not path.is_dir() and not path.is_file():
            raise InputError(option, f"{given} is neither a file nor a folder")
        inside = sorted(path.rglob("*")) if path.is_dir() else []
        files = [file for file in inside if not file.name.startswith(".")]
        files = files or [path, *(path.with_name(name) for name in beside)]
        files = [file for file in files if file.is_file()]
        return Source(path=path, xxh3=fingerprint_of(path if path.is_dir() else path.parent, files))
    except OSError as error:
        raise InputError(option, f"{given} cannot be read: {error.strerror or error}") from None
