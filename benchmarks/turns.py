"""Two programs that do the same work in turns: A B A B, each in a process of its own.

A process builds its cases once and waits; only one computes at a time. So both meet the same load of the
machine, neither sees the other's libraries, and the peak memory of each is its own.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memory import peak_gigabytes
from report import GateError, spread

Cases = Mapping[str, Callable[[], Tensor]]
"""What a program can do, by name; each gives the tensor that is compared with the other's."""

Build = Callable[..., Cases]
"""Makes the cases of one program in its process."""

PAUSE = 0.1
"""Seconds between two turns, in which threads of the one before stop spinning."""


@dataclass(frozen=True)
class Sample:
    """One run of one case.

    Attributes:
        wall: Seconds.
        cpu: Seconds of processor time of all threads.
        peak: Most memory of the process meanwhile, in GB.
    """

    wall: float
    cpu: float
    peak: float


@dataclass(frozen=True)
class Turns:
    """What two programs took for one case.

    Attributes:
        ours: Runs here.
        theirs: Runs of the peer, as many.
    """

    ours: Sequence[Sample]
    theirs: Sequence[Sample]

    def figures(self, name: str) -> dict[str, float]:
        """Medians: how many times faster, seconds, share of the peer's memory."""
        return {
            f"{name}_ratio": statistics.median(self._ratios("wall")),
            f"{name}_processor_ratio": statistics.median(self._ratios("cpu")),
            f"{name}_seconds": statistics.median(sample.wall for sample in self.ours),
            f"{name}_peer_seconds": statistics.median(sample.wall for sample in self.theirs),
            f"{name}_memory_ratio": max(s.peak for s in self.ours) / max(s.peak for s in self.theirs),
        }

    def details(self) -> dict[str, Any]:
        """Spreads of seconds and ratios, and peaks."""
        return {
            "seconds": spread([sample.wall for sample in self.ours]),
            "peer_seconds": spread([sample.wall for sample in self.theirs]),
            "processor_seconds": spread([sample.cpu for sample in self.ours]),
            "peer_processor_seconds": spread([sample.cpu for sample in self.theirs]),
            "ratio": spread(self._ratios("wall")),
            "turns": len(self.ours),
            "peak_gigabytes": max(sample.peak for sample in self.ours),
            "peer_peak_gigabytes": max(sample.peak for sample in self.theirs),
        }

    def _ratios(self, field: str) -> list[float]:
        pairs = zip(self.ours, self.theirs, strict=True)
        return [getattr(theirs, field) / getattr(ours, field) for ours, theirs in pairs]


class Pair:
    """Two programs in two processes.

    Args:
        ours: The process of this repository.
        theirs: The peer's.
    """

    def __init__(self, ours: ProcessPoolExecutor, theirs: ProcessPoolExecutor) -> None:
        self._programs = (ours, theirs)

    def check(self, case: str, *, most: float) -> float:
        """Run a case once in both and compare what they give; this warms both up.

        Returns:
            The largest difference, as a share of the largest number.

        Raises:
            GateError: If the results differ by more than `most`, as a share of the largest number.
        """
        ours, theirs = (program.submit(_result, case).result() for program in self._programs)
        if ours.shape != theirs.shape:
            raise GateError(f"{case}: shapes {tuple(ours.shape)} here and {tuple(theirs.shape)} of the peer")
        error = float((ours - theirs).abs().max() / theirs.abs().max())
        if not error <= most:
            raise GateError(f"{case}: the results differ by {error:.2g}, more than {most:g}")
        return error

    def measure(self, case: str, turns: int) -> Turns:
        """Time a case in both, in turns."""
        samples: tuple[list[Sample], list[Sample]] = ([], [])
        for _ in range(turns):
            for program, found in zip(self._programs, samples, strict=True):
                time.sleep(PAUSE)
                found.append(program.submit(_sample, case).result())
        return Turns(*samples)


@contextmanager
def pair(ours: Build, theirs: Build, *arguments: Any, threads: int) -> Iterator[Pair]:
    """Two processes with the cases that `ours(*arguments)` and `theirs(*arguments)` build."""
    with ExitStack() as stack:
        programs = [
            stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn"))) for _ in range(2)
        ]
        waiting = [
            program.submit(_begin, build, arguments, threads)
            for program, build in zip(programs, (ours, theirs), strict=True)
        ]
        for future in waiting:
            future.result()
        yield Pair(*programs)


_cases: dict[str, Callable[[], Tensor]] = {}


def _begin(build: Build, arguments: tuple[Any, ...], threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    _cases.update(build(*arguments))


def _result(case: str) -> Tensor:
    return _cases[case]().detach().float().clone()


def _sample(case: str) -> Sample:
    gc.collect()
    _forget_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    _cases[case]()
    return Sample(time.perf_counter() - wall, time.process_time() - cpu, peak_gigabytes())


def _forget_peak() -> None:
    """Let the peak begin again; without Linux' file for it peaks are those since the start."""
    file = Path("/proc/self/clear_refs")
    if file.exists():
        file.write_text("5")
