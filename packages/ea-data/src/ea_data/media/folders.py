"""Folders and files of results: what is there already and is not a result is never replaced."""

import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ea_data.media.atomic import discard
from ea_data.media.errors import MediaError, media_errors

__all__ = ["check_own_folder", "refuse_inputs", "replaced_folder"]


def check_own_folder(folder: Path, noun: str, names: re.Pattern[str], is_own: Callable[[Path], bool]) -> None:
    """Refuse a folder that results cannot be written to, before any work is done.

    Args:
        folder: New, empty, or an earlier result.
        noun: What a result is called, for messages.
        names: Of the files of a result; a folder with any other is none.
        is_own: Whether a folder with such names is an earlier result; told by a mark in one of its files.

    Raises:
        MediaError: Its parent does not exist, or it is there and holds something else than such a result.
    """
    with media_errors(folder, "write"):
        if not folder.parent.is_dir():
            raise MediaError(f"cannot write {folder}: the folder {folder.parent} does not exist")
        if not folder.exists():
            return
        if folder.is_dir():
            found = list(folder.iterdir())
            ours = all(names.fullmatch(path.name) and path.is_file() for path in found)
            if not found or (ours and is_own(folder)):
                return
    raise MediaError(
        f"cannot write {folder}: it holds something else than {noun}; allowed: a new folder, or an earlier "
        "one of this command"
    )


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder` that takes its name, whole or not at all; an earlier one is removed.

    Raises:
        MediaError: It cannot be written, or the disk is full.
    """
    place = folder.resolve()
    old = place.with_name(f".{place.name[:80]}.{uuid.uuid4().hex[:12]}.part")
    new = place.with_name(f".{place.name[:80]}.{uuid.uuid4().hex[:12]}.part")
    with media_errors(folder, "write"):
        try:
            new.mkdir()
            yield new
            if place.exists():
                place.rename(old)
            new.rename(place)
        finally:
            if old.exists() and not place.exists():
                old.rename(place)
            discard(old)
            discard(new)


def refuse_inputs(option: str, target: Path, inputs: Iterable[Path], noun: str) -> None:
    """Refuse to write onto a file that is read, or into a folder that has one, by whatever name.

    Args:
        option: Of the command, for the message.
        target: A file, or a folder that is replaced with all that is in it.
        inputs: Files that are read; not looked at when nothing is there to be replaced.
        noun: What an input is, for the message.

    Raises:
        MediaError: The target is one of them, or has one.
    """
    files = list(target.rglob("*")) if target.is_dir() else [target]
    taken = {stamp for file in files if (stamp := _identity(file)) is not None}
    hit = next((path for path in inputs if _identity(path) in taken), None) if taken else None
    if hit is not None:
        where = f"which holds {str(hit)[:200]}, {noun}" if target.is_dir() else f"which is {noun}"
        raise MediaError(f"{option} is {target}, {where}; allowed: another name")


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from all others, under any of its names; None where none is there."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
