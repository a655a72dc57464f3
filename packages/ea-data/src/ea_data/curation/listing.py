"""The rows that a run begins with: files of a folder, those that a manifest names, or prompts of a list."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ea_data.curation.names import short_name
from ea_data.curation.prompt_list import PROMPT_SUFFIXES, is_prompt_list, prompt_rows
from ea_data.curation.row import Kind, Row
from ea_data.manifest import SUFFIXES, BadRow, iter_manifest
from ea_data.media import IMAGE_SUFFIXES, VIDEO_SUFFIXES, MediaError
from ea_data.media.errors import media_errors
from ea_data.store import CacheError, digest_file

__all__ = ["LABEL", "ListOptions", "list_rows"]

LABEL: Final = "list"
_DIGITS: Final = re.compile("([0-9]+)")
_STEM_BYTES: Final = 80


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """Which files a run begins with.

    Attributes:
        recursive: Also those of folders within the folder.
        videos: Whether to take videos.
        images: Whether to take pictures.
        sidecars: Whether a `.txt` file beside a file, of its name, is its caption.
        classes: Whether the folder of a file names what it shows, as in UCF-101 and ImageNet.
        class_names: Words for folders whose names are none, such as n01440764.
    """

    recursive: bool = True
    videos: bool = True
    images: bool = True
    sidecars: bool = True
    classes: bool = False
    class_names: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Refuses to take nothing."""
        if not (self.videos or self.images):
            raise ValueError("videos and images are both false; allowed: one of them true")


def list_rows(source: Path, options: ListOptions, *, threads: int = 1) -> list[Row]:
    """A row for every file, in natural order of names, with the digest of its bytes.

    Args:
        source: A folder, a manifest (.json, .jsonl, .csv, .parquet), or a list of prompts (.txt, and .csv or
            .jsonl without a column of files), whose rows have no file.
        options: Which files.
        threads: That read files.

    Returns:
        A row that names no usable file is there too, ended with its reason.

    Raises:
        ValueError: Not there, or without any file.
    """
    if not source.exists():
        raise MediaError(f"cannot read {source}: no such file or folder")
    if source.is_dir():
        rows = [_row(source, name, options) for name in sorted(_names(source, options), key=_natural)]
    elif is_prompt_list(source):
        rows = prompt_rows(source, LABEL)
    elif source.suffix.lower() in SUFFIXES:
        rows = list(_manifest_rows(source))
    else:
        allowed = ", ".join(dict.fromkeys((*SUFFIXES, *PROMPT_SUFFIXES)))
        raise MediaError(
            f"cannot read {source}: neither a folder nor a manifest nor a list of prompts; allowed: {allowed}"
        )
    if not rows:
        raise MediaError(f"{source} has nothing to begin with; see the options of {LABEL}")
    with ThreadPoolExecutor(threads) as pool:
        rows = list(pool.map(_with_digest, rows))
    return _with_stems(rows)


def _names(folder: Path, options: ListOptions) -> Iterator[str]:
    with media_errors(folder, "read"):
        for root, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if not name.startswith(".")] if options.recursive else []
            for name in files:
                kind = _kind(name)
                wanted = (kind == "video" and options.videos) or (kind == "image" and options.images)
                if wanted and not name.startswith("."):
                    yield Path(root, name).relative_to(folder).as_posix()


def _kind(name: str) -> Kind | None:
    """By its name; a gif or webp counts as a picture, as most are."""
    suffix = Path(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "video" if suffix in VIDEO_SUFFIXES else None


def _row(folder: Path, name: str, options: ListOptions) -> Row:
    path = folder / name
    columns: dict[str, Any] = {}
    sidecar = path.with_suffix(".txt")
    if options.sidecars and sidecar.is_file():
        columns["text"] = " ".join(sidecar.read_text(encoding="utf-8", errors="replace").split())
    if options.classes and (label := path.parent.name if "/" in name else ""):
        columns["class"] = (options.class_names or {}).get(label, _words(label))
    shown = name.encode("utf-8", "backslashreplace").decode()
    kind = _kind(name)
    assert kind is not None
    return Row(name=shown, path=path.resolve(), kind=kind, digest="", source=shown, columns=columns)


def _manifest_rows(manifest: Path) -> Iterator[Row]:
    seen: Counter[str] = Counter()
    root = manifest.parent.resolve()
    for entry in iter_manifest(manifest):
        if isinstance(entry, BadRow):
            yield _bad_row(entry)
            continue
        inside = entry.path.is_relative_to(root)
        parts = entry.path.relative_to(root).parts if inside else entry.path.parts[-2:]
        name = "/".join(parts)
        seen[name] += 1
        if seen[name] > 1:
            name = f"{name} ({seen[name]})"
        columns = {"text": entry.text} if entry.text.strip() else {}
        yield Row(name=name, path=entry.path, kind=entry.type, digest="", source=name, columns=columns)


def _bad_row(bad: BadRow) -> Row:
    name = f"{bad.file.name}:{bad.line}"
    row = Row(name=name, path=bad.file, kind="text", digest="", source=name)
    return row.ended(LABEL, bad.reason, failed=True)


def _with_digest(row: Row) -> Row:
    if row.fate is not None or row.kind == "text":
        return row
    try:
        digest = digest_file(row.path)
    except CacheError as error:
        return row.ended(LABEL, str(error).replace(str(row.path), row.name), failed=True)
    return Row(
        name=row.name, path=row.path, kind=row.kind, digest=digest, source=row.source, columns=row.columns
    )


def _with_stems(rows: list[Row]) -> list[Row]:
    """A folder name for the files that are made of each row, which no other row has."""
    stems = [Path(row.name).with_suffix("").as_posix() for row in rows]
    often = Counter(stem.lower() for stem in stems)
    named = []
    for row, stem in zip(rows, stems, strict=True):
        short = "/".join(short_name(part, _STEM_BYTES) for part in stem.split("/"))
        if often[stem.lower()] > 1:
            short = short_name(f"{short}-{Path(row.name).suffix[1:].lower()}", _STEM_BYTES, always=row.name)
        named.append(row.known({"stem": short}))
    return named


def _natural(name: str) -> list[tuple[int, str | int]]:
    """By folders and numbers: 2.mp4 before 10.mp4."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in _DIGITS.split(name)]


def _words(name: str) -> str:
    """ApplyEyeMakeup, apply_eye_makeup: apply eye makeup."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[a-z])(?=[0-9])", " ", name)
    return " ".join(re.split(r"[\s_.-]+", apart)).strip().lower()
