"""Who may write: one process per folder, for as long as it lives."""

from pathlib import Path

from filelock import FileLock, Timeout

from ea_app.jobs.errors import OwnedError, StoreError
from ea_app.jobs.folders import LOCK

_PATIENCE = 1.0
# Readers look whether the lock is free by taking it for a moment.
_PRIVATE = 0o700
# Prompts and pictures are nobody else's business.


class Owner:
    """The right to write in a folder. The system takes it back when the process ends, however it does.

    Args:
        folder: The state folder; made if it is not there.

    Raises:
        OwnedError: Another process has it.
        StoreError: The folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self._lock = FileLock(folder / LOCK, timeout=_PATIENCE, thread_local=False)
            self._lock.acquire()
        except Timeout:
            raise OwnedError(
                f"{folder} is in use: another process runs its jobs; end it, or take another folder"
            ) from None
        except OSError as error:
            raise StoreError(f"cannot use {folder}: {error.strerror or error}") from None

    def release(self) -> None:
        """Give it back."""
        self._lock.release()


def has_owner(folder: Path) -> bool:
    """Whether a process has the right to write in a folder now."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0, thread_local=False):
            return False
    except Timeout:
        return True
    except OSError:  # not ours to lock: nobody can be told, and what was written is believed
        return True
