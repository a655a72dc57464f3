"""The record of a result: what made it, in the file itself and in the JSON beside it."""

import json
import os
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ea_app.api.extraction import Extraction, is_extraction_entry
from ea_app.api.fields import REFERENCES, STRATEGY, TEXT_INPUTS, is_file_input, numbered, option_of
from ea_app.api.inputs import Source, Text, check_unchanged
from ea_app.api.loras import are_lora_entries
from ea_app.api.output import record_path
from ea_app.api.weights import are_weight_entries, weight_entries
from ea_app.catalog import Model
from ea_app.options import MAX_SEED, InputError, concerning
from ea_data.media import read_metadata
from ea_data.parsing import json_reason

FORMAT = "ea-record/1"
_NEEDED: Mapping[str, Mapping[str, type]] = {
    "request": {"prompt": str, "width": int, "height": int, "num_frames": int, "seed": int},
    "model": {"name": str, "fingerprint": str},
    "machine": {"device": str, "dtype": str, "threads": int},
    "frames": {"xxh3": str},
    "inputs": {},
}
_AT_LEAST = {"seed": 0}
_HASH = re.compile("[0-9a-f]{32}")


def make_record(
    *,
    request: Mapping[str, Any],
    inputs: Mapping[str, Source | Text | None],
    model: Model,
    machine: Mapping[str, Any],
    timings: Mapping[str, float],
    frames: Mapping[str, Any],
    weights: Mapping[str, Source] = MappingProxyType({}),
    enhancement: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Put together what belongs into a record.

    Args:
        request: Scalar fields of the request.
        inputs: The files of its pixels, or the texts they were drawn from; None for pixels from neither.
        model: What ran.
        machine: Device, dtype and threads.
        timings: Seconds by stage.
        frames: Hash and shape of the result.
        weights: Files beside the model's directory, by option key.
        enhancement: What a language model made of the prompt; None when none was asked.
    """
    return {
        "format": FORMAT,
        "request": dict(request),
        **({} if enhancement is None else {"enhancement": dict(enhancement)}),
        "inputs": {name: _entry(source) for name, source in inputs.items()},
        "model": {"name": _portable_name(model), "fingerprint": model.fingerprint()},
        **({"weights": weight_entries(weights)} if weights else {}),
        "machine": dict(machine),
        "versions": versions(),
        "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
        "frames": dict(frames),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """Versions of what decides the frames."""
    found = {"python": platform.python_version()}
    for name in ("ea-app", "torch", "numpy", "pillow", "av"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def embedded(record: Mapping[str, Any], output: Path) -> str:
    """A record as the text in a media file: one line, with paths relative to the file."""
    inputs = {
        name: {**entry, "path": _relative(Path(entry["path"]), output)}
        if entry and "path" in entry
        else entry
        for name, entry in record["inputs"].items()
    }
    moved = {**record, "inputs": inputs}
    if "weights" in record:
        moved["weights"] = {
            key: {**entry, "path": _relative(Path(entry["path"]), output)}
            for key, entry in record["weights"].items()
        }
    if "loras" in record:
        # Those in the box stand there by name.
        moved["loras"] = [
            {**entry, "path": _relative(path, output)}
            if (path := Path(entry["path"])).is_absolute()
            else entry
            for entry in record["loras"]
        ]
    return json.dumps(moved, ensure_ascii=False, separators=(",", ":"))


def read_record(path: Path) -> dict[str, Any]:
    """Find the record of a result.

    Args:
        path: A file that EA wrote, or the JSON that was beside it.

    Raises:
        InputError: No such file, or no record in or beside it.
    """
    field = "file"
    if not path.is_file():
        raise InputError(field, f"{path} does not exist" if not path.exists() else f"{path} is no file")
    if path.suffix.lower() == ".json":
        return check_record(path, _read_text(path))
    with concerning(field):
        text = read_metadata(path)
    beside = record_path(path)
    if text is not None and FORMAT in text:
        return check_record(path, text)
    if beside.is_file():
        return check_record(beside, _read_text(beside))
    raise InputError(
        field, f"{path} carries no record of how it was made, and {beside.name} is not beside it"
    )


def find_sources(
    record: Mapping[str, Any], folder: Path, *, allow_pickle: bool = False
) -> dict[str, Source | Text]:
    """Find the inputs of a record, and make sure that files are what they were.

    Args:
        record: Result of `read_record`.
        folder: Where relative paths start.
        allow_pickle: Read weights in pickles for a control signal that is to be made.

    Raises:
        InputError: One is missing or has changed, or there never was a file; a control signal that is made
            in another way now.
    """
    sources: dict[str, Source | Text] = {}
    for name, entry in record["inputs"].items():
        field = option_of(name)
        if entry is None:
            raise InputError(field, "cannot be found again: it was given from Python and came from no file")
        if "text" in entry:
            sources[name] = Text(**entry)
            continue
        path = Path(os.path.normpath(folder.absolute() / entry["path"]))
        check_unchanged(field, path, entry["xxh3"])
        extraction = None
        if "extraction" in entry:
            extraction = Extraction.from_entry(entry["extraction"], allow_pickle=allow_pickle)
        sources[name] = Source(path=path, xxh3=entry["xxh3"], extraction=extraction)
    return sources


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("file", f"{path} cannot be read: {error}") from None


def check_record(path: Path, text: str) -> dict[str, Any]:
    """The record in the text that was embedded in a file.

    Args:
        path: The file, for messages.
        text: What `ea_data.media.read_metadata` found in it.

    Raises:
        InputError: It is none, or a broken one.
    """
    record = _json(path, text)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise InputError("file", f"{path} holds no record of the format {FORMAT}")
    for key, kinds in _NEEDED.items():
        if not isinstance(record.get(key), dict):
            raise InputError("file", f"the record in {path} has no {key}")
        for name, kind in kinds.items():
            if not _usable(name, record[key].get(name), kind):
                raise InputError("file", f"the record in {path} has no usable {name}")
    if not isinstance(record.get("enhancement", {}), dict):
        raise InputError("file", f"the record in {path} has a broken enhancement")
    if (name := _broken_input(record["inputs"])) is not None:
        raise InputError("file", f"the record in {path} has a broken input {name!r}")
    if not are_weight_entries(record.get("weights", {})):
        raise InputError("file", f"the record in {path} has broken weights")
    if not are_lora_entries(record.get("loras", [])):
        raise InputError("file", f"the record in {path} has broken loras")
    return record


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError("file", f"the record in {path} is broken: {error}") from None
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        raise InputError("file", f"the record in {path} is broken: {json_reason(error)}") from None


def _broken_input(inputs: Mapping[str, Any]) -> str | None:
    """The name of an input that cannot be used: of a wrong form, or a reference out of its row."""
    references = [name for name in inputs if numbered(name, REFERENCES) is not None]
    expected = {f"{REFERENCES} {number}" for number in range(len(references))}
    return next(
        (
            name
            for name, entry in inputs.items()
            if not _is_source(name, entry) or (name in references and name not in expected)
        ),
        None,
    )


def _entry(source: Source | Text | None) -> dict[str, Any] | None:
    if isinstance(source, Text):
        return {"text": source.text} if source.loops is None else {"text": source.text, "loops": source.loops}
    if source is None:
        return None
    made = {} if source.extraction is None else {"extraction": source.extraction.to_entry()}
    return {"path": str(source.path), "xxh3": source.xxh3, **made}


def _is_source(name: str, entry: object) -> bool:
    """Whether an entry names a file and its hash, holds a text, or says that there was neither."""
    if entry is None:
        return True
    if not isinstance(entry, dict):
        return False
    if name in TEXT_INPUTS and "text" in entry:
        loops = entry.get("loops", 1)
        whole = isinstance(loops, int) and loops >= 1 and (name == STRATEGY or "loops" not in entry)
        return isinstance(entry["text"], str) and entry.keys() <= {"text", "loops"} and whole
    return (
        is_file_input(name)
        and isinstance(entry.get("path"), str)
        and bool(_HASH.fullmatch(str(entry.get("xxh3"))))
        and ("extraction" not in entry or (name == "control" and is_extraction_entry(entry["extraction"])))
    )


def _usable(name: str, value: object, kind: type) -> bool:
    """Whether a value of a record can be worked with; the request itself is checked when it runs."""
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    return not isinstance(value, int) or _AT_LEAST.get(name, 1) <= value <= MAX_SEED


def _portable_name(model: Model) -> str:
    """Bundled names and hub ids as they are, directories as absolute paths."""
    given = Path(model.name).expanduser()
    return str(given.absolute()) if given.is_dir() and model.directory == given else model.name


def _relative(path: Path, output: Path) -> str:
    try:
        return Path(os.path.relpath(path, output.absolute().parent)).as_posix()
    except ValueError:  # another drive
        return str(path)
