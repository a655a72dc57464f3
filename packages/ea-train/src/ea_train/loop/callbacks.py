"""Where numbers go: a JSON-lines log, trackers, and the console."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from ea_kernels.runtime.files import replacing
from ea_train.loop.console import Console
from ea_train.loop.trackers import Tracker


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
        self._console = None if stream is None else Console(stream, total=total, finished=finished)
        self._trackers = trackers
        _drop_lines_after(self._path, finished)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Record the values of one step (counted from 1)."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "time": round(time.time(), 1), **values}) + "\n")
        for tracker in self._trackers:
            tracker.numbers(step, values)
        if self._console is not None:
            self._console.line(step, values)

    def tick(self, step: int) -> None:
        """A step is finished, whether it is logged or not."""
        if self._console is not None:
            self._console.tick(step)

    def clips(self, step: int, film: Path, sheet: Path) -> None:
        """Show the clips of a step to the trackers: a video and a picture."""
        for tracker in self._trackers:
            tracker.clips(step, film, sheet)

    def close(self) -> None:
        """Have the trackers write what they hold, and leave the terminal."""
        if self._console is not None:
            self._console.close()
        for tracker in self._trackers:
            tracker.close()


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
