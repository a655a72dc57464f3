"""Where numbers go: a JSON-lines log, TensorBoard when it is installed, and the console."""

import json
import sys
import time
from pathlib import Path
from typing import TextIO


class MetricLog:
    """Appends every logged step to `log.jsonl`, to TensorBoard and to the console.

    Args:
        directory: Run folder.
        total: Steps of the whole run, for the ETA.
        stream: Console; None is silent.
    """

    def __init__(self, directory: Path, *, total: int, stream: TextIO | None = sys.stderr) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "log.jsonl"
        self._total = total
        self._stream = stream
        self._board = _open_board(directory)
        self._started: tuple[int, float] | None = None

    def write(self, step: int, values: dict[str, float]) -> None:
        """Record the values of one step (counted from 1)."""
        now = time.monotonic()
        if self._started is None:
            self._started = (step, now)
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, "time": round(time.time(), 1), **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        if self._stream is not None:
            numbers = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
            print(
                f"step {step}/{self._total}  {numbers}  eta {self._eta(step, now)}",
                file=self._stream,
                flush=True,
            )

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()

    def _eta(self, step: int, now: float) -> str:
        first, started = self._started or (step, now)
        if step <= first:
            return "?"
        seconds = int((now - started) / (step - first) * (self._total - step))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _open_board(directory: Path):  # noqa: ANN202  the type exists only where tensorboard does
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  optional
    except ImportError:
        return None
    return SummaryWriter(str(directory / "tensorboard"))
