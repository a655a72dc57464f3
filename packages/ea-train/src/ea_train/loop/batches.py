"""Batches for the steps of a run, made by a thread or by worker processes while the step before computes."""

import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from torch.utils.data import DataLoader, Dataset, Sampler

from ea_train.config import LoopConfig
from ea_train.loop.signals import ignore_signals
from ea_train.tasks.base import Batch, Place, Task

_DEATH_IS_TOLD: Final = 2.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """How far a run is, and which part of what comes is for this process.

    Attributes:
        step: Finished optimiser steps.
        batches: Micro-batches that all ranks together have used up.
        rank: Of this process.
        world_size: Number of processes.
    """

    step: int = 0
    batches: int = 0
    rank: int = 0
    world_size: int = 1

    def after(self, steps: int, grad_accum: int) -> "Cursor":
        """The cursor when `steps` more steps of `grad_accum` micro-batches a rank are finished."""
        used = self.batches + steps * grad_accum * self.world_size
        return Cursor(step=self.step + steps, batches=used, rank=self.rank, world_size=self.world_size)

    def places(self, grad_accum: int) -> list[Place]:
        """The micro-batches of the next step that are for this process."""
        leads = [self.batches + index * self.world_size for index in range(grad_accum)]
        return [
            Place(
                step=self.step,
                batch=lead + self.rank,
                rank=self.rank,
                world_size=self.world_size,
                lead=lead,
            )
            for lead in leads
        ]


def step_batches(
    task: Task, loop: LoopConfig, cursor: Cursor, *, pinned: bool = False
) -> Iterator[tuple[list[Place], list[Batch]]]:
    """This process's micro-batches of every step that is left.

    Args:
        task: Makes them.
        loop: Number of steps, micro-batches and worker processes.
        cursor: Where to begin.
        pinned: Leave tensors in memory that a GPU copies from on its own.

    Yields:
        The places of a step's `loop.grad_accum` micro-batches, and these.
    """
    loader = DataLoader(
        _StepDataset(task, loop),
        batch_size=None,
        sampler=cast("Sampler[list[Place]]", _upcoming(loop, cursor)),
        num_workers=loop.num_workers,
        worker_init_fn=ignore_signals,
        pin_memory=pinned,
    )
    batches = _from_workers(iter(loader)) if loop.num_workers else _one_ahead(iter(loader))
    try:
        yield from zip(_upcoming(loop, cursor), batches, strict=True)
    except BaseException as error:
        # Its frames hold the workers, which ignore SIGTERM: the process would wait for them forever.
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        del batches


def _from_workers(batches: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
    """The same; a worker that was killed is told as such."""
    try:
        yield from batches
    except (OSError, EOFError):
        # A dying worker drops its connection before the system tells of its death, which makes torch raise.
        time.sleep(_DEATH_IS_TOLD)
        raise


def _one_ahead(batches: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
    """The same, each made by a thread while the one before is used; an error comes where its batch would."""
    with ThreadPoolExecutor(1, "next-batch") as thread:
        upcoming = thread.submit(next, batches, None)
        while (found := upcoming.result()) is not None:
            upcoming = thread.submit(next, batches, None)
            yield found


@contextmanager
def workers_watched(setting: str) -> Iterator[None]:
    """Say in one line that a process which makes batches has gone, for want of memory as a rule.

    torch raises wherever the program is at that moment, so this goes around all of the work.

    Args:
        setting: That says how many there are.

    Raises:
        ValueError: One is gone.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        text = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"{text}; memory may not suffice: try a smaller {setting}") from error


def _upcoming(loop: LoopConfig, cursor: Cursor) -> Iterator[list[Place]]:
    for ahead in range(loop.steps - cursor.step):
        yield cursor.after(ahead, loop.grad_accum).places(loop.grad_accum)


class _StepDataset(Dataset[list[Batch]]):
    """An item is the micro-batches of some places."""

    def __init__(self, task: Task, loop: LoopConfig) -> None:
        self._task = task
        self._loop = loop

    def __getitem__(self, places: list[Place]) -> list[dict[str, Any]]:
        loop = self._loop
        return [self._task.batch(loop.seed, place, loop.batch_size) for place in places]
