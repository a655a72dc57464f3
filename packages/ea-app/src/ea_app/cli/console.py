"""What the user sees while a job runs: notes and progress on stderr, the result on stdout."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ea_app.api import Result

_LABELS = {
    "load": "loading the model",
    "text": "reading the prompt",
    "conditions": "reading the inputs",
    "denoise": "denoising",
    "decode": "decoding",
}
_SECONDS_BETWEEN_LINES = 5.0


class Console:
    """Prints for one command.

    Args:
        quiet: Print warnings only.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._start = time.perf_counter()
        self._waiting: list[str] = []

    def note(self, text: str) -> None:
        """Something worth knowing."""
        if not self._quiet:
            print(text, file=sys.stderr)

    def note_when_it_runs(self, text: str) -> None:
        """Something worth knowing of a job, kept until nothing can refuse it: a mistake is one line."""
        self._waiting.append(text)

    def warn(self, text: str) -> None:
        """Something that is not as it should be."""
        print(f"ea-app: {text}", file=sys.stderr)

    def say(self, text: str) -> None:
        """A result."""
        if not self._quiet:
            print(text)

    def wrote(self, result: "Result") -> None:
        """The last line: what was written, and how long everything took."""
        assert result.path is not None
        count, height, width, _ = result.frames.shape
        length = "1 frame" if count == 1 else f"{count} frames"
        size = result.path.stat().st_size / 1000
        seconds = time.perf_counter() - self._start
        machine = result.record["machine"]
        made = f"{width}x{height}, {length}, {size:.0f} kB in {seconds:.1f} s"
        where = f"{machine['device']}, {machine['dtype']}"
        self.say(f"wrote {result.path}: {made} ({where}), seed {result.seed}")
        if joints := result.record["frames"].get("joints"):
            worst = max(joints, key=lambda joint: joint["score"])
            count = "1 joint" if len(joints) == 1 else f"{len(joints)} joints"
            score = f"{worst['score']:.1f} times the usual change at frame {worst['frame']}"
            self.note(f"{count} between windows, most visible: {score}")

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """A progress callback: a bar on a terminal, a line now and then elsewhere.

        The first stage after loading prints the notes that waited for it.
        """
        if self._quiet:
            yield lambda *_: None
        elif sys.stderr.isatty():
            with _bar() as update:
                yield self._noting(update)
        else:
            yield self._noting(_Lines())

    def _noting(self, update: Callable[[str, int, int], None]) -> Callable[[str, int, int], None]:
        def report(stage: str, step: int, total: int) -> None:
            while stage != "load" and self._waiting:
                self.note(self._waiting.pop(0))
            update(stage, step, total)

        return report


class _Lines:
    """Progress for logs: at most one line every few seconds, none for short stages."""

    def __init__(self) -> None:
        self._printed = time.perf_counter()
        self._started: dict[str, float] = {}

    def __call__(self, stage: str, step: int, total: int) -> None:
        now = time.perf_counter()
        if step == 0:
            self._started[stage] = now
            return
        if now - self._printed < _SECONDS_BETWEEN_LINES and not (stage == "denoise" and step == total):
            return
        self._printed = now
        left = (now - self._started.get(stage, now)) / step * (total - step)
        eta = f", {left:.0f} s left" if step < total else ""
        count = f" {step}/{total}" if total > 1 else ""
        print(f"{_LABELS.get(stage, stage)}{count}{eta}", file=sys.stderr)


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=RichConsole(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=1)
        shown = ""

        def update(stage: str, step: int, total: int) -> None:
            nonlocal shown
            if stage != shown:
                progress.reset(task, description=_LABELS.get(stage, stage), total=total)
                shown = stage
            progress.update(task, completed=step)

        yield update
