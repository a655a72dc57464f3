"""LoRA files of a job: named with a weight, hashed, recorded, found again."""

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ea_app.api.inputs import Source
from ea_app.api.weights import source_of
from ea_app.catalog import bundled_loras
from ea_app.options import InputError

if TYPE_CHECKING:
    from ea_dit.lora import LoraUse, Overlay

OPTION = "lora"
HEAVIEST = 100.0
"""Largest magnitude of a weight, the same as `ea_dit.lora.overlay.STRONGEST`."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE)
_PEFT_STEM, _PEFT_SETTINGS = "adapter_model", "adapter_config.json"


@dataclass(frozen=True, kw_only=True)
class LoraSource:
    """A LoRA file as it was when it was named.

    Attributes:
        source: The file, or PEFT's folder.
        weight: What its change is multiplied with.
        strict: Refuse it where anything in it does not fit the model.
    """

    source: Source
    weight: float = 1.0
    strict: bool = True


LoraLike = LoraSource | str | Path | tuple[str | Path, float]
"""Ways to name a LoRA from Python: "FILE:WEIGHT", a path, a path with a weight, or what `find_loras` gave.

A bundled name stands for its file unless there is a file of that name."""


def parse_lora(text: str) -> tuple[Path, float]:
    r"""Reads FILE or FILE:WEIGHT.

    What follows the last colon is the weight if it is a number and no file has the whole text as its name;
    other colons belong to the name, as in `C:\loras\a.safetensors`.

    Raises:
        InputError: No file name, or a weight that is not allowed.
    """
    name, colon, number = text.rpartition(":")
    if _exists(text) or not colon or (number and not _NUMBER.fullmatch(number)):
        name, number = text, "1"
    if not number:
        raise InputError(OPTION, f"must be FILE or FILE:WEIGHT, got {text!r}, which ends with a colon")
    if not name:
        raise InputError(OPTION, f"must be FILE or FILE:WEIGHT, got {text!r}, which names no file")
    return Path(name), _weight(float(number), text)


def find_loras(
    given: Sequence[LoraLike] | str | Path, *, unmatched: str = "refuse"
) -> tuple[LoraSource, ...]:
    """The files that options name, hashed.

    Args:
        given: See `LoraLike`.
        unmatched: "refuse" or "skip" layers that the model has no place for.

    Raises:
        InputError: One does not exist or cannot be read, or a weight is not allowed.
    """
    several = [given] if isinstance(given, str | Path) else given
    return tuple(_found(one, strict=unmatched != "skip") for one in several)


def _found(given: LoraLike, *, strict: bool) -> LoraSource:
    if isinstance(given, LoraSource):
        return given
    if isinstance(given, tuple):
        path, weight = Path(given[0]), _weight(given[1], str(given[0]))
    elif isinstance(given, Path):
        path, weight = given, 1.0
    else:
        path, weight = parse_lora(given)
    file = _in_the_box(path)
    if file == Path(path.name) and not path.suffix and not _exists(str(path)):
        known = ", ".join(bundled_loras()) or "none"
        raise InputError(OPTION, f"{path} does not exist, and none in the box has that name ({known})")
    return LoraSource(source=_source(file), weight=weight, strict=strict)


def recorded_loras(record: Mapping[str, Any], folder: Path) -> tuple[LoraSource, ...]:
    """Find the LoRAs of a record again and make sure that they are what they were.

    Args:
        record: Result of `ea_app.api.record.read_record`.
        folder: Where relative paths start.

    Raises:
        InputError: One is missing or has changed.
    """
    found: list[LoraSource] = []
    for entry in record.get("loras", []):
        path = Path(os.path.normpath(folder.absolute() / entry["path"]))
        source = _source(path if _exists(str(path)) else _in_the_box(Path(entry["path"])))
        if source.xxh3 != entry["xxh3"]:
            raise InputError(
                OPTION, f"{source.path} has changed since; this is not the LoRA it was made with"
            )
        strict = entry.get("unmatched") != "skip"
        found.append(LoraSource(source=source, weight=float(entry["weight"]), strict=strict))
    return tuple(found)


def _in_the_box(path: Path) -> Path:
    """The file that a bundled name stands for; any other path as it is."""
    return path if _exists(str(path)) else bundled_loras().get(str(path), path)


def _recorded(path: Path) -> str:
    """How a record names a file: a bundled one by its name, since it lies elsewhere on every machine."""
    return next((name for name, file in bundled_loras().items() if file == path), str(path))


def lora_entries(loras: Sequence[LoraSource]) -> list[dict[str, Any]]:
    """LoRAs as a record has them."""
    return [
        {
            "path": _recorded(lora.source.path),
            "xxh3": lora.source.xxh3,
            "weight": lora.weight,
            **({} if lora.strict else {"unmatched": "skip"}),
        }
        for lora in loras
    ]


def are_lora_entries(entries: object) -> bool:
    """Whether a part of a record is what `lora_entries` makes."""
    return isinstance(entries, list) and all(_is_entry(entry) for entry in entries)


def uses_of(loras: Sequence[LoraSource]) -> "tuple[LoraUse, ...]":
    """LoRAs as the pipeline takes them."""
    from ea_dit.lora import LoraUse  # noqa: PLC0415  (torch: only when a model is looked at)

    return tuple(LoraUse(path=lora.source.path, strength=lora.weight, strict=lora.strict) for lora in loras)


def loras_notes(loras: Sequence[LoraSource], overlays: "Sequence[Overlay]") -> tuple[str, ...]:
    """A line for every LoRA: its weight, and how much of it fits.

    Args:
        loras: As they were named.
        overlays: What became of them, in the same order.
    """
    reports = (overlay.report for overlay in overlays)
    return tuple(
        f"lora: {lora.source.path.name} at {lora.weight:g}: {report.summary()}"
        for lora, report in zip(loras, reports, strict=True)
        if report is not None
    )


def loras_in_use(loras: Sequence[LoraSource], overlays: "Sequence[Overlay]") -> tuple[LoraSource, ...]:
    """Those that were not taken off, with the weights that they have now; arguments as for `loras_notes`."""
    return tuple(
        replace(lora, weight=overlay.strength)
        for lora, overlay in zip(loras, overlays, strict=True)
        if not overlay.removed
    )


@contextmanager
def concerning_loras(loras: Sequence[LoraSource]) -> Iterator[None]:
    """Turn a ValueError that begins with the path of a LoRA into an `InputError` about the option."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        if any(str(error).startswith(str(lora.source.path)) for lora in loras):
            raise InputError(OPTION, " ".join(str(error).split())) from error
        raise


def _source(path: Path) -> Source:
    beside = (_PEFT_SETTINGS,) if path.stem == _PEFT_STEM else ()
    return source_of(OPTION, path, beside)


def _weight(weight: object, text: str) -> float:
    number = float(weight) if isinstance(weight, int | float) and not isinstance(weight, bool) else math.nan
    if not abs(number) <= HEAVIEST:
        rule = f"a number from -{HEAVIEST:g} to {HEAVIEST:g}"
        raise InputError(OPTION, f"the weight must be {rule}, got {weight!r} in {text!r}")
    return number


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):  # too long, no such home, a NUL
        return False


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not {"path", "xxh3", "weight"} <= set(entry):
        return False
    if not set(entry) <= {"path", "xxh3", "weight", "unmatched"} or entry.get("unmatched", "skip") != "skip":
        return False
    weight = entry["weight"]
    usable = isinstance(weight, int | float) and not isinstance(weight, bool)
    return (
        usable
        and abs(weight) <= HEAVIEST
        and isinstance(entry["path"], str)
        and isinstance(entry["xxh3"], str)
    )
