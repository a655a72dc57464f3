"""What a folder of files must hold: sizes and hashes, written last and checked before anything is read."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
FORMAT = 1
"""Of checkpoints; another number belongs to another version of this package."""

_CHUNK = 1 << 22


def write_manifest(folder: Path, step: int) -> None:
    """Describe all files of `folder` in its manifest.json."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(4) as pool:  # hashing leaves the interpreter to the others
        hashes = pool.map(_hash, files)
        entries = {
            path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "blake2b": digest}
            for path, digest in zip(files, hashes, strict=True)
        }
    content = {"format": FORMAT, "step": step, "files": entries}
    (folder / MANIFEST).write_text(_rendered(content), encoding="utf-8")


def damage_of(folder: Path, step: int) -> str | None:
    """What is wrong with a folder, by the manifest in it.

    Args:
        folder: Folder that `write_manifest` described.
        step: That the manifest must be of.

    Returns:
        The first difference in a few words, or None if every byte is as it was written.
    """
    try:
        return _difference(folder, step)
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return f"{Path(error.filename or folder).name} cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is not what was written"


def _difference(folder: Path, step: int) -> str | None:
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    content = json.loads(text)
    files: dict[str, dict[str, Any]] = content["files"]
    if content["format"] != FORMAT:
        return f"{MANIFEST} is of format {content['format']!r}, and {FORMAT} is known here"
    if content["step"] != step or _rendered(content) != text:
        return f"{MANIFEST} was changed"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    if odd := sorted(there ^ files.keys()):
        return f"{odd[0]} is {'not in its manifest' if odd[0] in there else 'missing'}"
    for name, entry in files.items():
        if (size := (folder / name).stat().st_size) != entry["bytes"]:
            return f"{name} has {size} bytes instead of {entry['bytes']}"
    with ThreadPoolExecutor(4) as pool:
        hashes = pool.map(_hash, [folder / name for name in files])
        changed = [
            name for name, digest in zip(files, hashes, strict=True) if digest != files[name]["blake2b"]
        ]
    return f"{changed[0]} has other content than was written" if changed else None


def _rendered(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _hash(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
