"""Where numbers go: a JSON-lines log, trackers, and the console."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from ea_kernels.runtime.files import replacing
from ea_train.loop.trackers import Tracker

_UNITS = {
    "speed/samples_per_second": ("samples/s", 1),
    "speed/tokens_per_second": ("tokens/s", 1),
    "speed/tflops": ("TFLOP/s", 1),
    "speed/data_wait": ("% data wait", 100),
}
_BRIEF = ("speed", "update_norm", "grad_limit", "grad_norm_block", "adapter_norm", "minutes")
"""Kinds of values that the console leaves to the log."""


class MetricLog:
    """Appends every logged step to `log.jsonl`, and tells it to trackers and the console.

    A run that is continued from a checkpoint repeats the steps after it, so their lines are dropped first.

    Args:
        directory: Run folder.
        total: Steps of the whole run, for the ETA.
        finished: Steps that the run continues after.
        trackers: Programs that show the run.
        stream: Console; None is silent.
    """

    def __init__(
        self,
        directory: Path,
        *,
        total: int,
        finished: int = 0,
        trackers: Sequence[Tracker] = (),
        stream: TextIO | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "log.jsonl"
        self._total = total
        self._stream = stream
        self._trackers = trackers
        self._started: tuple[int, float] | None = None
        _drop_lines_after(self._path, finished)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Record the values of one step (counted from 1)."""
        now = time.monotonic()
        if self._started is None:
            self._started = (step, now)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "time": round(time.time(), 1), **values}) + "\n")
        for tracker in self._trackers:
            tracker.numbers(step, values)
        if self._stream is not None:
            line = f"step {step}/{self._total}  {_in_words(values)}  eta {self._eta(step, now)}"
            print(line, file=self._stream, flush=True)

    def clips(self, step: int, film: Path, sheet: Path) -> None:
        """Show the clips of a step to the trackers: a video and a picture."""
        for tracker in self._trackers:
            tracker.clips(step, film, sheet)

    def close(self) -> None:
        """Have the trackers write what they hold."""
        for tracker in self._trackers:
            tracker.close()

    def _eta(self, step: int, now: float) -> str:
        first, started = self._started or (step, now)
        if step <= first:
            return "?"
        seconds = int((now - started) / (step - first) * (self._total - step))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _in_words(values: dict[str, float]) -> str:
    """Values for the console: those of one kind together, rates with their units."""
    shown = [f"{name} {value:.4g}" for name, value in values.items() if name.partition("/")[0] not in _BRIEF]
    for name, (unit, factor) in _UNITS.items():
        if name in values:
            shown.append(f"{values[name] * factor:.3g} {unit}")
    return "  ".join(shown)


def _drop_lines_after(path: Path, finished: int) -> None:
    if not path.exists():
        return
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= finished]
    with replacing(path) as draft:
        draft.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _step_of(line: str) -> float:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # the last line of a process that was killed while writing
        return float("inf")
