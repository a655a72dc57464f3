"""The most memory that a process has had."""

import resource
import sys
from pathlib import Path


def peak_gigabytes() -> float:
    """The most memory that this process has had, without what it inherited from the one that started it."""
    status = Path("/proc/self/status")
    if status.exists():  # what rusage says on Linux begins with the peak of the process that started this one
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
