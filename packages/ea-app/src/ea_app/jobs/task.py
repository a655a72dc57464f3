"""What a worker is told of a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker is told of a job; see `JobView` for what is not said here.

    Attributes:
        id: Of the job.
        folder: Its folder.
        prompt: What to show.
        options: By key.
        device: Used where the options name none.
        output: File to write.
        allow_pickle: Whether weights may be read from pickles.
        working_directory: Where relative names start.
        inputs: Hashes of input files by name.
        step_seconds: Least seconds between two steps that are kept.
    """

    id: str
    folder: str
    prompt: str
    options: Mapping[str, Any]
    device: str
    output: str
    allow_pickle: bool
    working_directory: str
    inputs: Mapping[str, str]
    step_seconds: float
