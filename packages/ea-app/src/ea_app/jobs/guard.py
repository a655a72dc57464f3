"""What a worker does so that it never outlives its supervisor, and is the first to go where memory ends."""

import ctypes
import os
import re
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_OOM_SCORE = "500"
_STATUS = Path("/proc/self/status")


def die_with_parent(parent: int) -> None:
    """Have the system end this process when its parent ends, where it can.

    Elsewhere, and if the parent was gone before this call, the end of the pipe says so.

    Args:
        parent: Number of the process that started this one.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def be_the_first_to_go() -> None:
    """Where memory runs out, the system is to end a worker and not what holds the queue."""
    try:
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    except OSError:  # another platform, or not allowed
        return


def limit_memory(limit: int) -> None:
    """Let this process have so many bytes of data more than it has now.

    Raises:
        OSError: The platform has no such limit.
    """
    if not sys.platform.startswith("linux"):
        raise OSError("memory can only be limited on Linux")
    import resource  # noqa: PLC0415  (there is none on Windows)

    most = data_bytes() + limit
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def data_bytes() -> int:
    """Bytes of data that this process has, as `limit_memory` counts them."""
    found = re.search(r"^VmData:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def ignore_interrupts() -> None:
    """Ctrl-C on a terminal reaches every process; the supervisor decides what becomes of jobs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
