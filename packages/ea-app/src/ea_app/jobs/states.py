"""The states of a job, and which follow which."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """Where a job is. A state is never one that a process would have to be there for and is not."""

    QUEUED = "queued"
    LOADING = "loading"
    """A worker has it; inputs and model are read."""
    RUNNING = "running"
    DECODING = "decoding"
    """Its latents are on disk."""
    SAVING = "saving"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """What ran it is gone; it can go on."""


class Reason(StrEnum):
    """Why a job failed."""

    MISTAKE = "mistake"
    """In an option; `JobView.error_field` names it."""
    MEMORY = "memory"
    """There was not enough of it."""
    TIMEOUT = "timeout"
    CRASH = "crash"
    """The worker process ended."""
    FILES = "files"
    """Something could not be read or written."""
    DEFECT = "defect"
    """An error in the program; the worker's log has the traceback."""


ACTIVE: Final = frozenset({State.LOADING, State.RUNNING, State.DECODING, State.SAVING})
"""A worker has the job."""

ENDED: Final = frozenset({State.DONE, State.FAILED, State.CANCELLED})

RESUMABLE: Final = frozenset({State.INTERRUPTED, State.FAILED, State.CANCELLED})
"""`Supervisor.resume` queues it again."""

HARMLESS: Final = frozenset({Reason.MISTAKE, Reason.FILES})
"""Failures after which a worker is as good as new."""

STATE_OF_STAGE: Final[Mapping[str, State]] = MappingProxyType(
    {
        "load": State.LOADING,
        "text": State.RUNNING,
        "conditions": State.RUNNING,
        "denoise": State.RUNNING,
        "decode": State.DECODING,
        "save": State.SAVING,
    }
)
"""By `ea_app.api.Progress.stage`."""
