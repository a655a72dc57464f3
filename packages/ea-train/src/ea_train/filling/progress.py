"""How far a long job is, on the console."""

import sys
import time
from collections.abc import Callable


class Progress:
    """Lines such as `clips 120/400  30%  1.5/s  ETA 3:07`, one in a while.

    Args:
        name: Of what is counted.
        total: How many there are.
        seconds: Between lines.
        tell: Called with each.
    """

    def __init__(
        self, name: str, total: int, *, seconds: float = 5.0, tell: Callable[[str], None] | None = None
    ) -> None:
        self._name, self._total, self._seconds = name, total, seconds
        self._tell = _say if tell is None else tell
        self._began = self._told = time.monotonic()
        self._done = self._worked = 0

    def step(self, *, worked: bool) -> None:
        """One more is done; `worked` unless it was there already, which takes no time worth counting."""
        self._done += 1
        self._worked += worked
        now = time.monotonic()
        if now - self._told >= self._seconds or self._done == self._total:
            self._told = now
            self._tell(self._line(now - self._began))

    def _line(self, seconds: float) -> str:
        share = 100 * self._done // self._total
        start = f"{self._name} {self._done}/{self._total}  {share}%"
        if not self._worked:
            return start
        rate = self._worked / max(seconds, 1e-9)
        left = self._total - self._done
        return f"{start}  {rate:.3g}/s" + (f"  ETA {_clock(left / rate)}" if left else "")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
