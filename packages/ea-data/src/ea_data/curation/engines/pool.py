"""Stages in a pool of processes that may die."""

from collections.abc import Iterator, Sequence

from ea_data.curation.work import Outcome, Task, perform
from ea_data.processes import Processes

__all__ = ["Pool"]


class Pool:
    """One pool for all stages; a file that ends its process, or takes too long, costs no other.

    Args:
        workers: Processes.
        timeout: Seconds for each file.
    """

    def __init__(self, workers: int, timeout: float) -> None:
        self._processes, self._timeout = Processes(workers), timeout

    def run(self, tasks: Sequence[Task]) -> Iterator[list[Outcome]]:
        """See `Engine`."""
        largest = max((len(task.items) for task in tasks), default=1)
        outcomes = self._processes.calls(
            perform,
            [(task,) for task in tasks],
            lost=lambda how: [Outcome(problem=f"reading {how}")],
            timeout=self._timeout * largest,
        )
        for task, found in zip(tasks, outcomes, strict=True):
            yield found if len(found) == len(task.items) else found * len(task.items)

    def close(self) -> None:
        """End the processes."""
        self._processes.close()
