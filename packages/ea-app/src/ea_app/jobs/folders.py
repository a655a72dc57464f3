"""Where jobs keep their files."""

import os
import re
import sys
from pathlib import Path
from typing import Final

DATABASE: Final = "jobs.sqlite"
LOCK: Final = "owner.lock"
PREVIEW: Final = "preview.jpg"
THUMBNAIL: Final = "thumbnail.jpg"
ENHANCEMENT: Final = "enhancement.json"

_NAME: Final = "ea-app"
_ID: Final = re.compile(r"[0-9a-f]{24}")


def default_state_folder() -> Path:
    """Where the platform wants programs to keep what they remember. It is not made."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / _NAME
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / _NAME
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if Path(given).is_absolute() else home / ".local" / "state") / _NAME


def is_job_id(text: str) -> bool:
    """Whether a text has the form of an id; what has not never becomes part of a path."""
    return _ID.fullmatch(text) is not None


def job_folder(state_folder: Path, job_id: str) -> Path:
    """Where a job has its latents, pictures, and its result if it was given no other place."""
    assert is_job_id(job_id), job_id
    return state_folder / "jobs" / job_id


def log_path(state_folder: Path, worker: int) -> Path:
    """What a worker and its libraries print."""
    return state_folder / "logs" / f"worker-{worker}.log"
