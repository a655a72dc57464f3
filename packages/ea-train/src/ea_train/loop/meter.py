"""How fast a run is, and what it waits for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch.utils.flop_counter import FlopCounterMode

from ea_train.loop.update import StepResult

Item = TypeVar("Item")


class Meter:
    """Rates since they were last asked for, and the minutes of the whole call.

    Attributes:
        flops: Floating-point operations of one micro-batch; None where none was counted.
    """

    def __init__(self, flops: float | None = None) -> None:
        self.flops = flops
        self._began = time.monotonic()
        self._reset()

    def _reset(self) -> None:
        self._since = time.monotonic()
        self._waited = 0.0
        self._steps = self._batches = self._samples = self._tokens = 0

    def waiting_for(self, items: Iterator[Item]) -> Iterator[Item]:
        """The same items; the time that each takes to come counts as waiting for data."""
        while True:
            asked = time.monotonic()
            try:
                item = next(items)
            except StopIteration:
                return
            self._waited += time.monotonic() - asked
            yield item

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Leave the block out of all rates."""
        began = time.monotonic()
        yield
        self._since += time.monotonic() - began

    @contextmanager
    def counting(self, *, batches: int) -> Iterator[None]:
        """Count the operations of the block, which works on so many micro-batches.

        Matrix products, convolutions and attention of torch count; kernels of our own do not. Counting
        changes the order of some additions, so it must happen in the same steps of a run whether it was
        killed or not.
        """
        with FlopCounterMode(display=False) as counter:
            yield
        self.flops = counter.get_total_flops() / batches

    def note(self, result: StepResult) -> None:
        """Take a finished step in."""
        self._steps += 1
        self._batches += result.batches
        self._samples += result.samples
        self._tokens += result.tokens

    def rates(self) -> dict[str, float]:
        """Rates of this rank since the last call, by name."""
        seconds = max(time.monotonic() - self._since, 1e-9)
        steps = max(self._steps, 1)
        found = {
            "speed/seconds_per_step": seconds / steps,
            "speed/samples_per_second": self._samples / seconds,
            "speed/data_wait": min(self._waited / seconds, 1.0),
        }
        if self._tokens:
            found["speed/tokens_per_second"] = self._tokens / seconds
        if self.flops:
            found["speed/tflops"] = self.flops * self._batches / seconds / 1e12
        self._reset()
        return found

    @property
    def minutes(self) -> float:
        """Since the meter was made."""
        return (time.monotonic() - self._began) / 60
