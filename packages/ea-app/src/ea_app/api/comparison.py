"""Which field of two records explains that their results differ.

Fields that decide a result come first: request, inputs, model, weights, LoRAs. What may change the last bits
follows: machine and versions. Times, names of files and places never decide anything and are not compared.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from ea_app.api.record import read_record
from ea_app.options import InputError, concerning
from ea_data.media import read_frames, read_sequence

Weight = Literal["decides", "last bits"]

_MISSING = "not given"
_PARTS: tuple[tuple[str, Weight], ...] = (
    ("request", "decides"),
    ("inputs", "decides"),
    ("model", "decides"),
    ("weights", "decides"),
    ("loras", "decides"),
    ("enhancement", "decides"),
    ("machine", "last bits"),
    ("versions", "last bits"),
)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A field that is not the same.

    Attributes:
        field: Its place in the record, such as "request.seed".
        first: Its value in the first record, "not given" where it is missing.
        second: In the second.
        weight: Whether it decides the result, or may change the last bits of it.
    """

    field: str
    first: Any
    second: Any
    weight: Weight


class Pixels(TypedDict):
    """How far frames are apart.

    Attributes:
        largest: Difference of one value, 0 ... 255.
        mean: Of all values.
        psnr: In decibels, None for equal frames.
        changed: Share of frames that differ, 0 ... 1.
        first: The first of them, None where there is none.
    """

    largest: int
    mean: float
    psnr: float | None
    changed: float
    first: int | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two results beside each other.

    Attributes:
        identical: Whether the recorded frames are the same, to the bit.
        differences: Fields that are not the same, those that decide first.
        pixels: How far the frames in the files are apart; None where they were not compared.
    """

    identical: bool
    differences: tuple[Difference, ...]
    pixels: Pixels | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain values, safe for JSON."""
        return asdict(self)


def compare(first: Path, second: Path, *, pixels: bool = False) -> Comparison:
    """Compare two results by their records.

    Args:
        first: A file that EA wrote, or its JSON.
        second: Another one.
        pixels: Compare the frames in the files too. It is done in any case where records say that frames
            differ and no field does.

    Raises:
        InputError: No record, or frames that are to be compared and cannot be.
    """
    records = read_record(first), read_record(second)
    found = tuple(differences(*records))
    hashes = [record["frames"]["xxh3"] for record in records]
    identical = hashes[0] == hashes[1]
    looked = compare_pixels(first, second) if pixels or not (identical or found) else None
    return Comparison(identical=identical, differences=found, pixels=looked)


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Difference]:
    """Fields of two records that are not the same, those that decide first."""
    for part, weight in _PARTS:
        one, other = _fields(first, part), _fields(second, part)
        for name in dict.fromkeys((*one, *other)):
            # What an earlier version had no field for is as what was not given.
            found = one.get(name), other.get(name)
            if found[0] != found[1]:
                before, after = (_MISSING if value is None else value for value in found)
                yield Difference(field=f"{part}.{name}", first=before, second=after, weight=weight)


def compare_pixels(first: Path, second: Path) -> Pixels:
    """How far the frames of two files are apart.

    Raises:
        InputError: They cannot be read, or have other sizes.
    """
    one, other = (_frames(path) for path in (first, second))
    if one.shape != other.shape:
        shapes = " and ".join(f"{len(some)} of {some.shape[2]}x{some.shape[1]}" for some in (one, other))
        raise InputError("pixels", f"cannot be compared: the files have frames of other sizes, {shapes}")
    apart = np.abs(one.astype(np.int16) - other)
    squared = float(np.mean(apart.astype(np.float64) ** 2))
    changed = apart.reshape(len(apart), -1).any(axis=1)
    return Pixels(
        largest=int(apart.max()),
        mean=round(float(apart.mean()), 4),
        psnr=None if squared == 0 else round(10 * float(np.log10(255**2 / squared)), 2),
        changed=round(float(changed.mean()), 4),
        first=int(changed.argmax()) if changed.any() else None,
    )


def _frames(path: Path) -> NDArray[np.uint8]:
    media = path.with_suffix("") if path.suffix.lower() == ".json" else path
    if not media.is_file():
        raise InputError("pixels", f"{media} is not there; its frames cannot be compared")
    with concerning("pixels"):
        return read_sequence(media) if media.suffix.lower() == ".zip" else read_frames(media)


def _fields(record: Mapping[str, Any], part: str) -> dict[str, Any]:
    """What counts of a part of a record: hashes, not the places of files."""
    entry = record.get(part)
    if part == "loras":
        return _by_name(entry or [])
    if not isinstance(entry, Mapping):
        return {}
    if part == "model":
        return {"fingerprint": entry["fingerprint"]}
    if part in ("inputs", "weights"):
        return {name: _content(value) for name, value in entry.items()}
    return dict(entry)


def _by_name(loras: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """LoRAs by the names of their files; several of one name are numbered."""
    found: dict[str, Any] = {}
    for lora in loras:
        name = Path(lora["path"]).name
        same = sum(known.split(" #")[0] == name for known in found)
        found[f"{name} #{same + 1}" if same else name] = _content(lora)
    return found


def _content(entry: Any) -> Any:
    """An entry without the place of its file."""
    if not isinstance(entry, Mapping):
        return entry
    return {key: value for key, value in entry.items() if key != "path"}
