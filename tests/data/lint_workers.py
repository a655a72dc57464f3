"""What the pool of `ea_data.lint` is given in tests: files that are fast, slow, or end their process."""

import os
import signal
import time
from pathlib import Path

from ea_data.lint.inspection import FileFacts


def look(path: Path, kind: str) -> FileFacts:
    """The name of a file says what happens to the process that looks into it."""
    if path.stem == "slow":
        time.sleep(600)
    if path.stem == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if path.stem == "exit":
        os._exit(3)
    if path.stem == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return FileFacts(kind=kind, digest=path.stem)
