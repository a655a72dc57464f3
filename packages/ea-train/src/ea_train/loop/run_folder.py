"""A run folder belongs to one run and to one process at a time."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ea_train.schema import flatten

_PLACES = (
    "model.path",
    "data.manifest",
    "data.root",
    "data.facts_cache",
    "data.cache",
    "data.cache_mode",
    "model.low_vram",
    "model.recompute",
)
# Where files are, what is encoded already, what memory is used for; what they hold: see `Task.inputs`.
MAY_CHANGE = frozenset(_PLACES) | frozenset(
    f"loop.{name}"
    for name in (
        "steps",
        "log_every",
        "validate_every",
        "checkpoint_minutes",
        "checkpoint_every",
        "keep_checkpoints",
        "export_checkpoints",
        "num_workers",
        "compile",
        "grad_accum",
        "sharding",
        "trackers",
        "tracker_project",
        "norms",
    )
)
"""Settings that a continued run may change; all others would make it another run.

`grad_accum` may as far as processes times `grad_accum` stays the same.
"""


def may_change(name: str) -> bool:
    """Whether a continued run may have another value of a setting."""
    return name in MAY_CHANGE or name.startswith("samples.")


@contextmanager
def sole_user(directory: Path) -> Iterator[None]:
    """Hold the run folder; the lock ends with the process, however that ends.

    Raises:
        ValueError: Another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(f"{directory} is in use by another run; wait or choose another folder") from None
    try:
        yield
    finally:
        lock.release()


def check_same_run(
    state: Mapping[str, Any], now: Mapping[str, Any], directory: Path, *, defaults: Mapping[str, Any]
) -> str | None:
    """Refuses to continue a run with other settings or from other inputs.

    Args:
        state: Of the checkpoint.
        now: The same of this process (`config`, `inputs`, `world_size`).
        directory: The run folder, for the message.
        defaults: Of settings, which those had that an earlier version did not know.

    Returns:
        A line for the user if a step takes another number of micro-batches than before, which is allowed
        where the number of processes changed.

    Raises:
        ValueError: Naming the setting and both values.
    """
    old, new, unknown = (
        flatten(json.loads(json.dumps(config))) for config in (state["config"], now["config"], defaults)
    )
    old = {name: unknown[name] for name in new.keys() & unknown.keys()} | old
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name) and not may_change(name):
            raise ValueError(
                f"{name} is {new.get(name)!r}, but the run in {directory} was started with "
                f"{old.get(name)!r}; continue with the same value or choose another folder"
            )
    for name, value in state.get("inputs", {}).items():
        if now["inputs"].get(name) != value:
            raise ValueError(
                f"{name} is {now['inputs'].get(name)}, but the run in {directory} was started with {value}; "
                "continue with the same one or choose another folder"
            )
    return _check_global_batch(state, now, directory)


def _check_global_batch(state: Mapping[str, Any], now: Mapping[str, Any], directory: Path) -> str | None:
    (ranks, each), (new_ranks, new_each) = (
        (run["world_size"], run["config"]["loop"]["grad_accum"]) for run in (state, now)
    )
    if ranks * each == new_ranks * new_each:
        return None
    if each != new_each:
        raise ValueError(
            f"loop.grad_accum is {new_each} with {new_ranks} processes, but the run in {directory} was "
            f"started with {each} and {ranks}; keep their product at {ranks * each}, or keep loop.grad_accum"
        )
    return (
        f"continued with {new_ranks} processes instead of {ranks}: a step takes {new_ranks * new_each} "
        f"micro-batches instead of {ranks * each}"
    )
