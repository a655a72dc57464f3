"""Texts to values, and what can be wrong with a value whatever the model."""

import math
import os
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from ea_app.options.errors import InputError
from ea_app.options.option import Option
from ea_app.options.table import OPTIONS

_SHOWN = 300
_PLACE = "-?[0-9]{1,9}|last"


def parse(given: Mapping[str, Any]) -> dict[str, Any]:
    """Turn texts into values and check what needs no model.

    Args:
        given: Values by key, the prompt among them; None means not given.

    Returns:
        The values that were given; a size as (width, height).

    Raises:
        InputError: An unknown key, or a value that is not allowed.
    """
    known = {entry.key: entry for entry in OPTIONS}
    if unknown := sorted(set(given) - set(known) - {"prompt"}):
        raise InputError(unknown[0], f"unknown option; known: {', '.join(known)}")
    values = {key: _values(known[key], raw) for key, raw in given.items() if raw is not None and key in known}
    if given.get("prompt") is not None:
        values["prompt"] = given["prompt"]
    for name in ("prompt", "negative"):
        check_text(name, values.get(name, "-"))
    return values


def check_text(field: str, text: object) -> str:
    """Refuses what is no usable text."""
    if not isinstance(text, str):
        raise InputError(field, f"must be text, got {type(text).__name__}")
    if field == "prompt" and not text.strip():
        raise InputError(field, "must not be empty; say what the video shows")
    if "\0" in text:
        raise InputError(field, "must not contain NUL characters")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(field, "must be valid Unicode text")
    return text


def shown(raw: object) -> str:
    """A value in a message: whole if it is short, its type if it is no plain value."""
    if not isinstance(raw, str | int | float | list | tuple | dict | os.PathLike):
        return f"a {type(raw).__name__}"
    try:
        text = repr(raw)
    except ValueError:  # an integer of thousands of digits
        return "a number that is too long"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _name(field: str, raw: object) -> str:
    """The name of a file."""
    if not isinstance(raw, str | os.PathLike):
        raise InputError(field, f"must be a file name, got {shown(raw)}")
    return str(raw)


def _values(entry: Option, raw: Any) -> Any:
    if not entry.many:
        return _value(entry, raw)
    return [_value(entry, one) for one in (raw if isinstance(raw, list | tuple) else [raw])]


def _value(entry: Option, raw: Any) -> Any:
    if entry.kind in ("int", "float"):
        return _number(entry, raw)
    if entry.kind == "size":
        return _size(raw)
    if entry.kind == "numbers":
        return _numbers(entry.name, raw)
    if entry.kind == "keyframes":
        return _keyframes(entry.name, raw)
    if entry.kind == "files":
        return _files(entry.name, raw)
    text = _name(entry.name, raw) if entry.kind == "file" and not entry.many else str(raw)
    if entry.kind == "file" and not text:
        raise InputError(entry.name, "must be a file name, got nothing")
    if entry.kind == "url":
        _check_address(entry.name, text)
    if entry.choices and text not in entry.choices:
        raise InputError(entry.name, f"must be {entry.allowed()}; got {text!r}")
    return text


def _files(field: str, raw: Any) -> tuple[str, ...]:
    """File names, from "a.png;b.mp4" or a list."""
    names: list[str] = []
    if isinstance(raw, str):
        names = [name.strip() for name in raw.split(";")]
    elif isinstance(raw, list | tuple):
        names = [_name(field, name) for name in raw]
    if not names or not all(names):
        raise InputError(field, f"must be file names, several with ; between them, got {shown(raw)}")
    return tuple(names)


def _numbers(field: str, raw: Any) -> tuple[float, ...]:
    """Numbers that fall, from "999,500.5" or a list; whole ones stay whole."""
    parts = raw.split(",") if isinstance(raw, str) else raw
    most = 1000
    try:
        if not isinstance(parts, list | tuple) or any(isinstance(part, bool) for part in parts[: most + 1]):
            raise TypeError
        numbers = [float(part) for part in parts[: most + 1]]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    falling = all(after < before for before, after in pairwise(numbers))
    if not 1 <= len(numbers) <= most or not falling or not 0 <= numbers[-1] <= numbers[0] < math.inf:
        rule = f"must be up to {most} numbers from 0 up that fall, with commas, such as 999,750,500,250"
        raise InputError(field, f"{rule}; got {shown(raw)}")
    return tuple(int(number) if number.is_integer() else number for number in numbers)


def _keyframes(field: str, raw: Any) -> dict[int, str]:
    """Files by number of the frame, from "0:a.png,24:b.png" or a mapping. Commas in names are fine."""
    if isinstance(raw, Mapping):
        pairs = [(str(at), _name(field, path)) for at, path in raw.items()]
    elif isinstance(raw, str):
        pieces = re.split(rf"(?:^|,)\s*({_PLACE})\s*:", raw)
        files = [piece.strip() for piece in pieces[2::2]]
        pairs = [] if pieces[0].strip() else list(zip(pieces[1::2], files, strict=True))
    else:
        pairs = []
    wrong = (not path or path[-1] == "," or not re.fullmatch(_PLACE, at) for at, path in pairs)
    if not pairs or any(wrong):
        rule = "must be NUMBER:FILE, several with commas, such as 0:a.png,24:b.png"
        raise InputError(field, f"{rule}; got {shown(raw)}")
    found: dict[int, str] = {}
    for written, path in pairs:
        at = -1 if written == "last" else int(written)
        if at in found:
            raise InputError(field, f"frame {written} is given twice")
        found[at] = path
    return found


def _check_address(field: str, text: str) -> None:
    rule = "an address such as http://localhost:8000/v1"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, half an IPv6 address
        raise InputError(field, f"must be {rule}") from None
    if not usable or not text.isascii() or not text.isprintable() or " " in text:
        raise InputError(field, f"must be {rule}")
    if parts.username is not None or parts.password is not None:
        raise InputError(field, f"must be {rule}; a key belongs into EA_PROMPT_API_KEY, not into the address")


def _number(entry: Option, raw: Any) -> int | float:
    try:
        value = int(raw) if entry.kind == "int" and not isinstance(raw, float) else float(raw)
    except (TypeError, ValueError):
        value = math.nan
    whole = entry.kind != "int" or isinstance(value, int)
    inside = entry.minimum <= value <= entry.maximum and not (entry.above and value == entry.minimum)
    if isinstance(raw, bool) or not whole or not inside:
        raise InputError(entry.name, f"must be {entry.allowed()}, got {shown(raw)}")
    return value


def _size(raw: Any) -> tuple[int, int]:
    parts = raw.lower().replace("×", "x").split("x") if isinstance(raw, str) else raw
    try:
        sides = [int(parts)] if isinstance(parts, int) else [int(part) for part in parts]
    except (TypeError, ValueError):
        sides = []
    if len(sides) == 1:
        sides *= 2
    if len(sides) != 2:
        raise InputError(
            "size", f"must be WIDTHxHEIGHT such as 128x96, or one number for a square, got {shown(raw)}"
        )
    return sides[0], sides[1]
