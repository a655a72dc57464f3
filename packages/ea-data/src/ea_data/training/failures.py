"""Files that cannot be trained on: named once each, and counted."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["BrokenSample", "BrokenSampleWarning", "FailureLog", "Report"]


class BrokenSampleWarning(UserWarning):
    """A file of a manifest cannot be trained on."""


@dataclass(frozen=True)
class BrokenSample:
    """A file that cannot be trained on.

    Attributes:
        path: The file of the row.
        line: Of the manifest, where the row begins.
        reason: One line; it names the file that is at fault, which may be the row's control file.
    """

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        """Line of the manifest and reason."""
        return f"row at line {self.line}: {self.reason}"


Report = Callable[[BrokenSample], None]


class FailureLog:
    """Tells of every file once, and counts how often each was asked for in vain.

    Args:
        report: Called with each file the first time; by default it warns.

    Attributes:
        counts: How often each file failed.
    """

    def __init__(self, report: Report | None = None) -> None:
        self._report = report or _warn
        self.counts: Counter[Path] = Counter()

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which cannot call what is of this one: it warns."""
        return {"_report": _warn, "counts": self.counts}

    def add(self, failures: Iterable[BrokenSample]) -> None:
        """Count failures, and tell of files that did not fail before."""
        for failure in failures:
            self.counts[failure.path] += 1
            if self.counts[failure.path] == 1:
                self._report(failure)


def _warn(failure: BrokenSample) -> None:
    warnings.warn(str(failure), BrokenSampleWarning, stacklevel=4)
