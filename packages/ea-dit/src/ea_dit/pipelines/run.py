"""Progress, cancellation and clock of one run."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from ea_dit.diffusion.loop import Cancelled
from ea_dit.pipelines.seams import SeamMeter
from ea_dit.pipelines.states import WindowState

ProgressCallback = Callable[[str, int, int], None]
"""Called with the stage (text, conditions, denoise, decode), steps done from 0 on, and their total (of all
windows)."""


@dataclass
class Run:
    """What a run tells, and how it is stopped.

    Attributes:
        on_progress: See `ProgressCallback`.
        on_latents: Called with 0 and the initial latents of a window, then with k and those after step k.
        on_state: Called after every step, and before a window is decoded, with all that another run needs to
            go on from there.
        resume: Where to go on: states that `on_state` was given by a run of the same request on the same
            model, one for every window that was begun.
        should_stop: Asked between steps and stages; True raises `Cancelled`.
        windows: How many windows the video has.
        window: Number of the present one.
        timings: Seconds of every stage so far, and "total" in the end.
        meter: Knows the joints.
        calls: Model calls of all windows, known when the first begins.
        skipped: Of every window with a step cache, the model calls whose blocks were left out.
    """

    on_progress: ProgressCallback | None = None
    on_latents: Callable[[int, Tensor], None] | None = None
    on_state: Callable[[WindowState], None] | None = None
    resume: Sequence[WindowState] = ()
    should_stop: Callable[[], bool] | None = None
    windows: int = 1
    window: int = 0
    timings: dict[str, float] = field(default_factory=dict)
    meter: SeamMeter = field(default_factory=SeamMeter)
    calls: int = 0
    skipped: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, total: int = 1) -> Iterator[None]:
        """Times a stage and reports its start and end."""
        self._begin(name, total)
        with self._timed(name):
            yield
        if total == 1:
            self.report(name, 1, 1)

    def stage_in_parts(self, name: str, parts: Iterable[Tensor]) -> Iterator[Tensor]:
        """Times and reports a stage that gives its result in parts; not what is done with them meanwhile."""
        self._begin(name, 1)
        rest = iter(parts)
        while True:
            with self._timed(name):
                part = next(rest, None)
            if part is None:
                break
            yield part
        self.report(name, 1, 1)

    def _begin(self, name: str, total: int) -> None:
        if self.should_stop is not None and self.should_stop():
            raise Cancelled(f"stopped before stage {name!r}")
        self.report(name, 0, total)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start

    def report(self, name: str, step: int, total: int) -> None:
        """Tells the caller how far a stage of the present window is."""
        if self.on_progress is not None:
            self.on_progress(name, self.window * total + step, self.windows * total)

    def report_latents(self, step: int, latents: Tensor) -> None:
        """Gives the caller the latents after a step."""
        if self.on_latents is not None:
            self.on_latents(step, latents)

    def report_state(self, state: WindowState) -> None:
        """Gives the caller what another run needs to go on from here."""
        if self.on_state is not None:
            self.on_state(state)

    def before(self) -> WindowState | None:
        """Where a run before left the present window; None if it was not begun."""
        return self.resume[self.window] if self.window < len(self.resume) else None
