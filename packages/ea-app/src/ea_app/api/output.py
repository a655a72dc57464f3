"""Where a result goes: checked before computing, written whole or not at all."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ea_app.options import InputError
from ea_data.media import OUTPUT_SUFFIXES


def record_path(output: Path) -> Path:
    """The JSON beside a result: `out.mp4` has `out.mp4.json`."""
    return output.with_name(output.name + ".json")


def default_output(frames: int, kind: str | None = None) -> Path:
    """Where to write when no file was named.

    Args:
        frames: How many it will have.
        kind: Option `format`; None for what suits.
    """
    return Path(f"out{suffix_of(frames, kind)}")


def suffix_of(frames: int, kind: str | None = None) -> str:
    """The ending of a result's name; arguments as for `default_output`."""
    if kind is None:
        return ".png" if frames == 1 else ".mp4"
    return ".zip" if kind == "png" and frames > 1 else f".{kind}"


def check_output(output: str | Path, frames: int, inputs: Iterable[Path] = ()) -> Path:
    """Make sure that a result can be written, before hours go into it.

    Args:
        output: The file to write.
        frames: How many frames it will have.
        inputs: Files that the job reads; none of them is written over.

    Returns:
        Its path.

    Raises:
        InputError: An unknown suffix, a folder that does not exist or cannot be written to, a name that is
            taken by something other than a file, or several frames for a png.
    """
    path = Path(output).expanduser()
    suffix = path.suffix.lower()
    if suffix not in OUTPUT_SUFFIXES:
        raise InputError("output", f"must end with one of {', '.join(OUTPUT_SUFFIXES)}; got {str(output)!r}")
    if suffix == ".png" and frames > 1:
        raise InputError(
            "output", f".png holds one frame, not {frames}; use .zip for a .png of each, or .mp4"
        )
    for given in inputs:
        if any(target.exists() and target.samefile(given) for target in (path, record_path(path))):
            raise InputError("output", f"{path} would replace {given}, which the job reads")
    try:
        _check_place(path)
        descriptor, probe = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            reason = f"the name is too long: {len(path.name)} letters, more than the disk takes"
            raise InputError("output", reason) from None
        raise InputError("output", f"cannot write in {path.parent}: {error.strerror or error}") from None
    os.close(descriptor)
    Path(probe).unlink()
    return path


def _check_place(path: Path) -> None:
    """Refuses a name that is taken by something else, and a folder that is none."""
    for target in (path, record_path(path)):
        if target.exists() and not target.is_file():
            raise InputError("output", f"{target} exists and is no file")
    if not path.parent.is_dir():
        if path.parent.exists():
            raise InputError("output", f"{path.parent} is a file, not a folder to write in")
        raise InputError("output", f"the folder {path.parent} does not exist")


@contextlib.contextmanager
def staged(output: Path, record: Mapping[str, Any]) -> Iterator[Path]:
    """Put a result and its JSON in place together.

    Args:
        output: The file to write; an existing one is replaced at the very end.
        record: Content of the JSON.

    Yields:
        A temporary path with the same suffix to write the media file to. If the block fails, or the JSON
        cannot be written, both places are as they were.
    """
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
        media = Path(folder) / output.name
        yield media
        notes = record_path(media)
        notes.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _replace_all({media: output, notes: record_path(output)}, Path(folder))


def _replace_all(moves: Mapping[Path, Path], folder: Path) -> None:
    done: list[tuple[Path, Path | None]] = []
    try:
        for index, (source, target) in enumerate(moves.items()):
            kept = folder / f"kept-{index}" if target.exists() else None
            if kept is not None:
                shutil.copy2(target, kept)
            done.append((target, kept))
            source.replace(target)
    except BaseException:  # put everything back, also on Ctrl-C
        for target, kept in reversed(done):
            if kept is not None:
                kept.replace(target)
            else:
                target.unlink(missing_ok=True)
        raise
