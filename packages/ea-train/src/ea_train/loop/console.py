"""What a person sees of a run: a line for every logged step, and in a terminal a bar below them."""

import time
from importlib.util import find_spec
from typing import Any, TextIO

_BRIEF = ("speed", "update_norm", "grad_limit", "grad_norm_block", "adapter_norm", "minutes")
"""Kinds of values that are left to the log."""
_FLOPS = ((1.0, "TFLOP/s"), (1e-3, "GFLOP/s"), (1e-6, "MFLOP/s"))
_LEAST_WAIT = 0.005
_REFRESH_SECONDS = 0.25


class Console:
    """Lines on a stream; where that is a terminal and rich is installed, a bar moves below them.

    Args:
        stream: Where to.
        total: Steps of the whole run.
        finished: Steps that the run continues after.
    """

    def __init__(self, stream: TextIO, *, total: int, finished: int = 0) -> None:
        self._stream = stream
        self._total = total
        self._began = time.monotonic()
        self._first: tuple[int, float] | None = None
        self._shown = 0.0
        self._bar, self._bar_task = _bar(stream, total, finished)

    def line(self, step: int, values: dict[str, float]) -> None:
        """Show the values of a step (counted from 1)."""
        places = len(str(self._total))
        text = f"step {step:>{places}}/{self._total}  {in_words(values)}"
        if any(name.startswith("speed/") for name in values):
            text += f"  eta {self._eta(step)}"
        self.text(text)

    def text(self, line: str) -> None:
        """Show a line."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=self._stream, flush=True)

    def tick(self, step: int) -> None:
        """A step is finished."""
        now = time.monotonic()
        if self._first is None:  # the first step warms up, so it says nothing of the others
            self._first = (step, now)
        if self._bar is not None and (now - self._shown > _REFRESH_SECONDS or step == self._total):
            self._bar.update(self._bar_task, completed=step, eta=self._eta(step))
            self._bar.refresh()
            self._shown = now

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()

    def _eta(self, step: int) -> str:
        if step >= self._total:
            return _clock(0)
        if self._first is None or step <= self._first[0]:
            return "?"
        first, then = self._first
        return _clock((time.monotonic() - then) / (step - first) * (self._total - step))


def in_words(values: dict[str, float]) -> str:
    """Values in one line: those of the one group of a run without its name, rates with their units."""
    groups = {name.partition("/")[2] for name in values if name.startswith("loss/")}
    own = f"/{next(iter(groups))}" if len(groups) == 1 else "/"
    shown = []
    for name, value in values.items():
        if name.partition("/")[0] not in _BRIEF and name != "val/loss_interval":
            words = name.removesuffix(own).replace("_", " ").replace("val/", "val ")
            around = values.get("val/loss_interval") if name == "val/loss" else None
            shown.append(f"{words} {value:.4g}" + ("" if around is None else f" ± {around:.2g}"))
    return "  ".join([*shown, *_rates(values)])


def _rates(values: dict[str, float]) -> list[str]:
    shown = []
    for name, unit in (("samples", "samples/s"), ("tokens", "tokens/s")):
        if (rate := values.get(f"speed/{name}_per_second")) is not None:
            shown.append(f"{rate:.3g} {unit}")
    if (teraflops := values.get("speed/tflops")) is not None:
        scale, unit = next((pair for pair in _FLOPS if teraflops >= pair[0]), _FLOPS[-1])
        shown.append(f"{teraflops / scale:.3g} {unit}")
    if (wait := values.get("speed/data_wait", 0.0)) >= _LEAST_WAIT:
        shown.append(f"data wait {wait:.0%}")
    return shown


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _bar(stream: TextIO, total: int, finished: int) -> tuple[Any, Any]:
    """A bar of rich; None where it would not move."""
    if not stream.isatty() or find_spec("rich") is None:
        return None, None
    from rich.console import Console as RichConsole  # noqa: PLC0415  only in a terminal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left {task.fields[eta]}"),
    )
    bar = Progress(
        *columns, console=RichConsole(file=stream), auto_refresh=False, redirect_stdout=False, transient=True
    )
    task = bar.add_task("", total=total, completed=finished, eta="?")
    bar.start()
    return bar, task
