"""How far a job is, as one typed event per step."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["load", "text", "conditions", "denoise", "decode", "save"]

ProgressCallback = Callable[[str, int, int], None]
"""Called with the stage ("text", "conditions", "denoise", "decode"), steps done and steps in all, from 0
on."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One event.

    Attributes:
        stage: What is being done. Videos in windows come back to "conditions" and "denoise" for every window,
            and count the steps of all windows.
        step: Steps of the stage that are done.
        total: Steps of the stage in all.
        elapsed: Seconds since the job began.
        remaining: Seconds that this stage will still take, None before the first step.
        skipped: Model calls so far whose blocks were left out, see `--teacache`; of all windows.
        preview: JPEG of what is being made, where the model has a map for it and it is time for a new one.
    """

    stage: str
    step: int
    total: int
    elapsed: float
    remaining: float | None = None
    skipped: int = 0
    preview: bytes | None = None


EventCallback = Callable[[Progress], None]


class ProgressMeter:
    """Makes events of steps: adds the clock and an estimate.

    Args:
        on_event: Gets the events.
    """

    def __init__(self, on_event: EventCallback) -> None:
        self._on_event = on_event
        self._start = time.perf_counter()
        self._first: dict[str, tuple[int, float]] = {}

    def report(
        self, stage: str, step: int, total: int, preview: bytes | None = None, *, skipped: int = 0
    ) -> None:
        """Tells of a step."""
        now = time.perf_counter()
        begun, since = self._first.setdefault(stage, (step, now))
        done = step - begun
        remaining = (now - since) / done * (total - step) if done > 0 else None
        self._on_event(
            Progress(
                stage=stage,
                step=step,
                total=total,
                elapsed=now - self._start,
                remaining=remaining,
                skipped=skipped,
                preview=preview,
            )
        )
