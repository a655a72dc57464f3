"""Batches for the steps of a run, made here or by worker processes."""

import signal
import traceback
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

from ea_train.config import LoopConfig
from ea_train.tasks.base import Batch, Task


def step_batches(task: Task, loop: LoopConfig, *, first: int) -> Iterator[tuple[int, list[Batch]]]:
    """The micro-batches of every step that is left.

    Args:
        task: Makes them.
        loop: Number of steps, micro-batches and worker processes.
        first: Step to begin with.

    Yields:
        A step and its `loop.grad_accum` micro-batches.
    """
    steps = range(first, loop.steps)
    loader = DataLoader(
        _StepDataset(task, loop),
        batch_size=None,
        sampler=steps,
        num_workers=loop.num_workers,
        worker_init_fn=_leave_signals_to_the_trainer,
    )
    batches = iter(loader)
    try:
        yield from zip(steps, batches, strict=True)
    except BaseException as error:
        # Its frames hold the workers, which ignore SIGTERM: the process would wait for them forever.
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        del batches


def _leave_signals_to_the_trainer(worker: int) -> None:
    # Ctrl-C reaches the whole process group; a worker that dies of it would take the final checkpoint along.
    del worker
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)


class _StepDataset(Dataset[list[Batch]]):
    """Item `step` is the micro-batches of that step."""

    def __init__(self, task: Task, loop: LoopConfig) -> None:
        self._task = task
        self._loop = loop

    def __getitem__(self, step: int) -> list[dict[str, Any]]:
        loop = self._loop
        return [
            self._task.batch(loop.seed, step * loop.grad_accum + index, loop.batch_size)
            for index in range(loop.grad_accum)
        ]
