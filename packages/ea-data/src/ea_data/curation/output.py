"""What a run leaves: the manifest, its clips, and the rows that were left out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from ea_data.curation.control_files import CONTROLS, control_names, place_controls
from ea_data.curation.placing import place, remove_others
from ea_data.curation.row import Row
from ea_data.media import MediaError, write_text
from ea_data.media.errors import media_errors
from ea_data.store import digest_text

__all__ = ["CLIPS", "EXCLUDED", "MANIFEST", "WORK", "check_output", "manifest_row", "write_output"]

MANIFEST: Final = "metadata.jsonl"
EXCLUDED: Final = "excluded.jsonl"
CLIPS: Final = "clips"
PROMPTS: Final = ("prompts.jsonl", "prompts.txt")
WORK: Final = "work"
_MARK: Final = 8

_OWN: Final = (
    "caption",
    "text",
    "stem",
    "frames",
    "fps",
    "width",
    "height",
    "print",
    "blank",
    "container",
    "codec",
)


def write_output(output: Path, rows: Sequence[Row], *, prompts: bool = False) -> Path:
    """Write what is kept and what is not; the manifest comes last, and names only files that are there.

    Clips that no row is kept of any more are removed.

    Args:
        output: A folder.
        rows: All of them.
        prompts: Whether they are prompts, which have no files.

    Returns:
        The manifest; of prompts their list.

    Raises:
        MediaError: The disk is full, or the folder cannot be written.
    """
    kept = [row for row in rows if row.fate is None]
    files = [] if prompts else kept
    names = _file_names(files)
    manifest = output / MANIFEST
    # The old manifest may name files that go now.
    with media_errors(output, "write"):
        for name in (MANIFEST, *PROMPTS):
            (output / name).unlink(missing_ok=True)
        for row, name in zip(files, names, strict=True):
            place(row.path, row.digest, output / name, work=output / WORK)
        remove_others(output / CLIPS, {output / name for name in names})
        controls = {
            path
            for row, name in zip(files, names, strict=True)
            for path in place_controls(row, name, output, work=output / WORK)
        }
        remove_others(output / CONTROLS, controls)
    write_text(output / EXCLUDED, _lines(_excluded(row) for row in rows if row.fate is not None))
    if prompts:
        return _write_prompts(output, kept)
    text = _lines(manifest_row(row, name) for row, name in zip(files, names, strict=True))
    return write_text(manifest, text)


def _write_prompts(output: Path, rows: Sequence[Row]) -> Path:
    """Prompts with what is known of them, and one on each line for `ea-app generate --prompts`."""
    texts = [str(row.columns.get("caption", row.columns["text"])) for row in rows]
    table = _lines(
        {"text": text, "source": row.source, **_scores(row)} for row, text in zip(rows, texts, strict=True)
    )
    write_text(output / PROMPTS[1], "".join(f"{text}\n" for text in texts))
    return write_text(output / PROMPTS[0], table)


def manifest_row(row: Row, file_name: str) -> dict[str, Any]:
    """A row as training reads it, with its scores after it."""
    columns = row.columns
    found: dict[str, Any] = {
        "file_path": file_name,
        "text": columns.get("caption", columns.get("text", "")),
        "type": row.kind,
        "num_frames": columns.get("frames"),
        "height": columns.get("height"),
        "width": columns.get("width"),
        "fps": columns.get("fps") or None,
        "source": row.source,
    }
    controls = control_names(row, file_name)
    if controls:
        found["control_file_path"] = next(iter(controls.values()))
        found |= {f"{kind}_file_path": name for kind, name in controls.items()}
    return {name: value for name, value in {**found, **_scores(row)}.items() if value is not None}


def _scores(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.columns.items() if name not in _OWN and _is_plain(value)}


def _excluded(row: Row) -> Mapping[str, Any]:
    assert row.fate is not None
    scores = {
        name: value
        for name, value in row.columns.items()
        if name not in ("print", "stem", "blank") and _is_plain(value)
    }
    how = "failed" if row.fate.failed else "dropped"
    return {"file": row.name, "stage": row.fate.stage, how: row.fate.reason, **scores}


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _file_names(rows: Sequence[Row]) -> list[str]:
    """Below the output; of each row another one, also where case counts nothing, none a folder of another.

    A piece of a.mp4 is a/a_0.mp4, which a folder of the user may have as well.
    """
    names: list[str] = []
    files: set[str] = set()
    folders: set[str] = set()
    for row in rows:
        name = _file_name(row)
        if name.lower() in files | folders or any(parent in files for parent in _folders(name)):
            path = PurePosixPath(name)
            mark = digest_text(row.name)[:_MARK]
            # In the uppermost folder, where no part of the name can be another file.
            name = f"{CLIPS}/{path.stem}-{mark}{path.suffix}"
        names.append(name)
        files.add(name.lower())
        folders.update(_folders(name))
    assert len(files) == len(rows)
    return names


def _folders(name: str) -> list[str]:
    return [str(parent).lower() for parent in PurePosixPath(name).parents]


def _file_name(row: Row) -> str:
    stem = str(row.columns["stem"])
    made = row.name.rpartition("#")[2] if "#" in row.name and row.name != row.source else ""
    name = PurePosixPath(CLIPS) / stem
    return str(name / made if made else name.with_name(name.name + row.path.suffix.lower()))


def _lines(rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def check_output(output: Path, source: Path) -> None:
    """Refuse a folder that a run cannot be written to, before any work is done.

    Raises:
        MediaError: It is the source or within it, or it holds something else than an earlier run.
    """
    with media_errors(output, "write"):
        if not output.parent.is_dir():
            raise MediaError(f"cannot write {output}: the folder {output.parent} does not exist")
        if output.resolve().is_relative_to(source.resolve()) or source.resolve().is_relative_to(
            output.resolve()
        ):
            raise MediaError(f"cannot write {output}: it and {source} have one in the other; allowed: apart")
        if output.exists() and not (output / WORK).is_dir() and any(output.iterdir()):
            raise MediaError(
                f"cannot write {output}: it holds something else than a run; allowed: a new folder, or "
                "that of an earlier run"
            )
