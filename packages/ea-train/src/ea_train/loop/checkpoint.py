"""Training checkpoints: whole or absent, never pickled, enough to continue bit for bit.

A checkpoint is a folder `step-00001200` with safetensors files and `state.json`. It is written under a
temporary name, flushed, and renamed, so a folder with the final name is complete whatever killed the process
before.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

_PREFIX = "step-"


def checkpoint_steps(directory: Path) -> list[int]:
    """Steps that have a complete checkpoint in `directory`, oldest first."""
    if not directory.is_dir():
        return []
    return sorted(
        int(path.name.removeprefix(_PREFIX)) for path in directory.glob(f"{_PREFIX}[0-9]*") if path.is_dir()
    )


def checkpoint_folder(directory: Path, step: int) -> Path:
    """Where the checkpoint of a step is, or would be."""
    return directory / f"{_PREFIX}{step:08d}"


def save(
    directory: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> Path:
    """Write one checkpoint.

    Args:
        directory: Folder that holds all checkpoints of the run.
        step: Finished optimiser steps.
        tensors: File stem to its named tensors.
        state: JSON values beside them.

    Returns:
        The finished folder.
    """
    final = checkpoint_folder(directory, step)
    draft = directory / f".{final.name}.{os.getpid()}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name, values in tensors.items():
        save_file(
            {key: value.detach().cpu().contiguous() for key, value in values.items()},
            draft / f"{name}.safetensors",
        )
    (draft / "state.json").write_text(json.dumps({**state, "step": step}, indent=1))
    for path in (*draft.iterdir(), draft):
        _flush(path)
    if final.exists():  # set aside under a draft's name, so that `prune` removes it
        final.replace(directory / f".{final.name}.replaced-by-{os.getpid()}.tmp")
    draft.replace(final)
    _flush(directory)
    return final


def load(directory: Path, step: int) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read the tensors (by file stem) and the state of one checkpoint.

    Raises:
        ValueError: A file is missing or damaged.
    """
    folder = checkpoint_folder(directory, step)
    try:
        state = json.loads((folder / "state.json").read_text())
        tensors = {path.stem: load_file(path) for path in sorted(folder.glob("*.safetensors"))}
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"checkpoint {folder} cannot be read ({error}); remove it to continue from the one before"
        ) from error
    return tensors, state


def prune(directory: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, and drafts that a killed run left."""
    for step in checkpoint_steps(directory)[:-keep]:
        shutil.rmtree(checkpoint_folder(directory, step), ignore_errors=True)
    for draft in directory.glob(f".{_PREFIX}*.tmp"):
        shutil.rmtree(draft, ignore_errors=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser as flat named tensors (`index.name`)."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, entry in state.items()
        for name, value in entry.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took out."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
