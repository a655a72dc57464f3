"""Training checkpoints: whole or absent, never pickled, enough to continue bit for bit.

A checkpoint is a folder `step-00001200` with safetensors files, `state.json` and a manifest with the size and
hash of each. It is written under a temporary name, flushed, and renamed, so whatever killed the process
before, a folder with the final name is complete. What happened to it later, the manifest shows.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ea_train.loop.manifest import damage_of, write_manifest

_PREFIX = "step-"

Files = Iterable[tuple[str, Mapping[str, Tensor]]]
"""Stems of safetensors files with their tensors; each is asked for when it is written."""


def checkpoint_steps(directory: Path) -> list[int]:
    """Steps that have a checkpoint in `directory`, oldest first."""
    if not directory.is_dir():
        return []
    numbers = [path.name.removeprefix(_PREFIX) for path in directory.glob(f"{_PREFIX}*") if path.is_dir()]
    return sorted(int(number) for number in numbers if number.isdecimal())


def checkpoint_folder(directory: Path, step: int) -> Path:
    """Where the checkpoint of a step is, or would be."""
    return directory / f"{_PREFIX}{step:08d}"


def save(
    directory: Path,
    step: int,
    files: Files,
    state: Mapping[str, Any],
    *,
    beside: Callable[[Path], None] | None = None,
) -> Path:
    """Write one checkpoint.

    Args:
        directory: Folder that holds all checkpoints of the run.
        step: Finished optimiser steps.
        files: Stem and named tensors of each file.
        state: JSON values beside them.
        beside: Called with the unfinished folder, to put more files into it.

    Returns:
        The finished folder.

    Raises:
        OSError: It could not be written, such as for want of space. Nothing of it is left then, and earlier
            checkpoints are as they were.
    """
    final = checkpoint_folder(directory, step)
    draft = directory / f".{final.name}.{os.getpid()}.tmp"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for name, tensors in files:
            save_file(_separate(tensors), draft / f"{name}.safetensors")
        (draft / "state.json").write_text(json.dumps({**state, "step": step}, indent=1), encoding="utf-8")
        if beside is not None:
            beside(draft)
        write_manifest(draft, step)
        for path in (*draft.rglob("*"), draft):
            _flush(path)
        if final.exists():
            final.replace(directory / f".{final.name}.{os.getpid()}.replaced.tmp")
        draft.replace(final)
        _flush(directory)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        kept = checkpoint_steps(directory)
        rest = f"the checkpoint of step {kept[-1]} is kept" if kept else "there is no earlier one"
        raise OSError(
            f"cannot write the checkpoint of step {step} to {directory}: {reason}; {rest}"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return final


def newest_whole(directory: Path, tell: Callable[[str], None]) -> int | None:
    """The newest step whose checkpoint is as it was written.

    A damaged one is set aside as `damaged-step-...`, so that it neither counts as one of those to keep nor is
    tried again.

    Args:
        directory: Folder that holds all checkpoints of the run.
        tell: Gets one line for each that is damaged.

    Returns:
        The step, or None if there is no checkpoint.

    Raises:
        ValueError: There are checkpoints, but all are damaged.
    """
    damaged: list[tuple[Path, str]] = []
    whole = None
    for step in reversed(checkpoint_steps(directory)):
        folder = checkpoint_folder(directory, step)
        if (damage := damage_of(folder, step)) is None:
            whole = step
            break
        damaged.append((folder, damage))
    if damaged and whole is None:
        folder, damage = damaged[0]
        raise ValueError(
            f"checkpoint {folder} is damaged ({damage}) and no earlier one is whole; remove {directory} to "
            "begin again"
        )
    for folder, damage in damaged:
        aside = _free_name(folder.with_name(f"damaged-{folder.name}"))
        folder.replace(aside)
        tell(f"checkpoint {folder} is damaged ({damage}); kept as {aside.name}, continuing from step {whole}")
    return whole


def load(directory: Path, step: int) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read the tensors (by file stem) and the state of one checkpoint.

    Raises:
        ValueError: A file is missing or damaged.
    """
    folder = checkpoint_folder(directory, step)
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        tensors = {path.stem: load_file(path) for path in sorted(folder.glob("*.safetensors"))}
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(f"checkpoint {folder} cannot be read ({error})") from error
    return tensors, state


def prune(directory: Path, keep: int | None = None) -> None:
    """Remove drafts that a killed run left and, of the checkpoints, all but the newest `keep`."""
    for step in checkpoint_steps(directory)[:-keep] if keep else []:
        folder = checkpoint_folder(directory, step)
        # Renamed first: killed while it removes, this process must not leave half a checkpoint.
        folder.replace(directory / f".{folder.name}.{os.getpid()}.removed.tmp")
    for draft in directory.glob(f".{_PREFIX}*.tmp"):
        shutil.rmtree(draft, ignore_errors=True)


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Tied weights share memory, which the format does not allow.
    found: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if storage in storages else tensor
        storages.add(storage)
    return found


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_name(f"{path.name}-{number + 1}")
    return free


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
