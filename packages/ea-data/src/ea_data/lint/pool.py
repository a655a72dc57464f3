"""Looking into many files at once, each in its time, in processes that may die."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ea_data.lint.inspection import FileFacts, FileKey, Kind
from ea_data.processes import calls_in_order

__all__ = ["inspect_files"]


def inspect_files(
    files: Sequence[FileKey],
    look: Callable[[Path, Kind], FileFacts],
    *,
    timeout: float,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[FileFacts]:
    """Look into files, in other processes; see `calls_in_order`.

    Args:
        files: With what they are used as.
        look: What is done with each, such as `inspect_file` with its other arguments; importable by name.
        timeout: Seconds for each file.
        workers: Processes.
        progress: Is told how many are done, and how many there are.

    Returns:
        What was found, in the order of `files`.
    """
    found = []
    for facts in calls_in_order(look, files, lost=_lost, timeout=timeout, workers=workers):
        found.append(facts)
        if progress is not None:
            progress(len(found), len(files))
    return found


def _lost(how: str) -> FileFacts:
    return FileFacts(problem="timeout", message=f"reading {how}")
