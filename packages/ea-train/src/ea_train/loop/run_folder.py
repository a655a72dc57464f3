"""A run folder belongs to one run and to one process at a time."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ea_train.schema import flatten

MAY_CHANGE = frozenset(
    f"loop.{name}"
    for name in (
        "steps",
        "log_every",
        "validate_every",
        "checkpoint_minutes",
        "keep_checkpoints",
        "num_workers",
        "compile",
    )
)
"""Settings that a continued run may change; all others would make it another run."""


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
    state: Mapping[str, Any], config: Mapping[str, Any], inputs: Mapping[str, str], directory: Path
) -> None:
    """Refuses to continue a run with other settings or from other inputs.

    Args:
        state: Of the checkpoint.
        config: Settings of now.
        inputs: What the task is made from now, by setting.
        directory: The run folder, for the message.

    Raises:
        ValueError: Naming the setting and both values.
    """
    old, new = flatten(state["config"]), flatten(json.loads(json.dumps(config)))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name) and name not in MAY_CHANGE:
            raise ValueError(
                f"{name} is {new.get(name)!r}, but the run in {directory} was started with "
                f"{old.get(name)!r}; continue with the same value or choose another folder"
            )
    for name, value in state.get("inputs", {}).items():
        if inputs.get(name) != value:
            raise ValueError(
                f"{name} is {inputs.get(name)}, but the run in {directory} was started with {value}; "
                "continue with the same one or choose another folder"
            )
