"""What a worker process does: a stage, and the files of a batch."""

import errno
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from ea_data.curation.registry import open_stage
from ea_data.curation.stage import Item, ItemStage, SplitStage
from ea_data.media import MediaError

__all__ = ["Outcome", "Task", "perform"]

_OPEN: Final = 4
"""Stages that a process keeps open; they come one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Files for one stage.

    Attributes:
        stage: Its name.
        options: Its options as JSON.
        items: One or more.
    """

    stage: str
    options: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a file.

    Attributes:
        value: What was measured; None if nothing was.
        problem: Why not, in one line.
    """

    value: Any = None
    problem: str = ""


def perform(task: Task) -> list[Outcome]:
    """Do the work of a task; every file has an outcome, whatever another one of the batch did.

    Raises:
        ValueError: The stage cannot be opened, or the disk is full, which is no fault of a file.
    """
    stage = _opened(task.stage, task.options)
    if isinstance(stage, SplitStage):
        return [_one(lambda item: [_plain(made) for made in stage.split(item)], item) for item in task.items]
    assert isinstance(stage, ItemStage)
    if len(task.items) > 1:
        try:
            return [_outcome(value) for value in stage.measure_all(task.items)]
        except Exception:  # noqa: BLE001  (one by one below, where each tells its own)
            pass
    return [_one(stage.measure, item) for item in task.items]


def _outcome(value: dict[str, Any] | ValueError) -> Outcome:
    return _problem(value) if isinstance(value, ValueError) else Outcome(value=value)


def _one(work: Any, item: Item) -> Outcome:
    try:
        return Outcome(value=work(item))
    except Exception as error:  # fail-closed: whatever a decoder or network raises is of one row
        if _is_full(error):
            raise MediaError(_words(error)) from error
        return _problem(error)


def _problem(error: BaseException) -> Outcome:
    return Outcome(problem=_words(error))


def _words(error: BaseException) -> str:
    known = isinstance(error, ValueError)
    words = str(error) if known and str(error) else f"{type(error).__name__}: {error}"
    return " ".join(words.split())[:1000]


def _is_full(error: BaseException | None) -> bool:
    """Whether an error began with a disk that is full, which would leave out one row after the other."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _plain(made: Any) -> dict[str, Any]:
    columns: Mapping[str, Any] = made.columns
    return {"name": made.name, "digest": made.digest, "columns": dict(columns)}


# Weights are loaded once in a process, not once for each file.
@lru_cache(maxsize=_OPEN)
def _opened(name: str, options: str) -> Any:
    stage = open_stage(name, json.loads(options))
    stage.open()
    return stage


def batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Items in their order, in batches."""
    return [items[start : start + size] for start in range(0, len(items), size)]
