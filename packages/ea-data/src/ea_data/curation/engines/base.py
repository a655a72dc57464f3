"""What an engine is."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from ea_data.curation.work import Outcome, Task, perform

__all__ = ["ENGINES", "Engine", "InProcess", "open_engine"]

ENGINES = ("processes", "inline", "ray")
"""A pool of processes, this process, Ray Data."""


class Engine(Protocol):
    """Does tasks, in any order and anywhere."""

    def run(self, tasks: Sequence[Task]) -> Iterator[list[Outcome]]:
        """The outcomes of each task, in the order of the tasks."""
        ...

    def close(self) -> None:
        """Let go of processes."""
        ...


class InProcess:
    """One task after the other, in this process; a file that ends it ends the run."""

    def run(self, tasks: Sequence[Task]) -> Iterator[list[Outcome]]:
        """See `Engine`."""
        return map(perform, tasks)

    def close(self) -> None:
        """Nothing is open."""


def open_engine(name: str, *, workers: int = 1, timeout: float = 600.0, address: str | None = None) -> Engine:
    """An engine.

    Args:
        name: One of `ENGINES`.
        workers: Processes, 1 to 256; the engine `inline` has none.
        timeout: Seconds that one file may take; only `processes` ends one that takes longer.
        address: Of a Ray cluster; None starts Ray on this machine.

    Raises:
        ValueError: No such engine, or a value out of its range.
    """
    if name not in ENGINES:
        raise ValueError(f"engine is {name!r}; allowed: {', '.join(ENGINES)}")
    if not 1 <= workers <= 256:
        raise ValueError(f"workers is {workers}; allowed: 1 to 256")
    if not 0.1 <= timeout <= 86_400:
        raise ValueError(f"timeout is {timeout:g}; allowed: 0.1 to 86400")
    if name == "inline":
        return InProcess()
    if name == "ray":
        from ea_data.curation.engines.ray_data import RayData  # noqa: PLC0415  (it is an extra)

        return RayData(workers, address)
    from ea_data.curation.engines.pool import Pool  # noqa: PLC0415  (so that --help is instant)

    return Pool(workers, timeout)
