"""The strings of mask strategies.

A strategy is a list of groups joined by ";". A group has up to six fields joined by ",": the loop in which it
applies, the index of the reference, the first frame of the reference, the first frame of the clip, the number
of frames, and the edit ratio. All but the first may be left out from the right. Source: Open-Sora 1.1.
"""

import re
from dataclasses import dataclass, fields
from typing import Final

from ea_data.parsing import expected_at

__all__ = [
    "MAX_COUNT",
    "Group",
    "MaskStrategy",
    "parse_strategy",
]

MAX_COUNT: Final = 100_000
"""Largest index or number of frames."""

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_RANGES: Final[dict[str, tuple[str, int, int]]] = {
    "loop": ("loop", 0, MAX_COUNT),
    "reference": ("index of a reference", -MAX_COUNT, MAX_COUNT),
    "source_start": ("first frame of the reference", -MAX_COUNT, MAX_COUNT),
    "target_start": ("first frame of the clip", -MAX_COUNT, MAX_COUNT),
    "length": ("number of frames", 0, MAX_COUNT),
    "edit_ratio": ("edit ratio", 0, 1),
}
"""What a field is, its smallest and its largest value; in the order of a string."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Frames of a reference that are put into the clip of one loop.

    Attributes:
        loop: In which it applies, 0 ...
        reference: Index of the reference; negative from the end, -1 is the last.
        source_start: First frame of the reference; negative from its end.
        target_start: First frame of the clip; negative from its end.
        length: Number of frames; 0 puts nothing.
        edit_ratio: 0 keeps the frames, 1 makes them anew, values between change them so far.
    """

    loop: int
    reference: int = 0
    source_start: int = 0
    target_start: int = 0
    length: int = 1
    edit_ratio: float = 0.0

    def __post_init__(self) -> None:
        """Refuses values out of range."""
        for name, (_, low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; allowed: {low} to {high}")

    def to_text(self) -> str:
        """The shortest string of the group."""
        values = [getattr(self, name) for name in _RANGES]
        defaults = [field.default for field in fields(self)]
        while len(values) > 1 and values[-1] == defaults[len(values) - 1]:
            values.pop()
        return ",".join(str(value).removesuffix(".0") for value in values)


@dataclass(frozen=True)
class MaskStrategy:
    """What is put where, in all loops.

    Attributes:
        groups: In order; where two meet, the later one wins.
    """

    groups: tuple[Group, ...]

    def __post_init__(self) -> None:
        """Refuses a strategy of nothing."""
        if not self.groups:
            raise ValueError("groups are empty; allowed: 1 or more")

    def in_loop(self, loop: int) -> tuple[Group, ...]:
        """The groups that apply in one loop, in order."""
        return tuple(group for group in self.groups if group.loop == loop)

    def to_text(self) -> str:
        """The shortest string of the strategy; `parse_strategy` reads it back."""
        return ";".join(group.to_text() for group in self.groups)


def parse_strategy(text: str) -> MaskStrategy:
    """Read the string of a mask strategy.

    Args:
        text: Such as "0;0,1,0,-1,1". Spaces around numbers do not count.

    Raises:
        ValueError: It is no strategy; one line that points at the character.
    """
    groups: list[Group] = []
    start = 0
    for part in text.split(";"):
        groups.append(_group(text, start, part))
        start += len(part) + 1
    return MaskStrategy(tuple(groups))


def _group(text: str, start: int, part: str) -> Group:
    """Read one group, which begins at `start`."""
    names = list(_RANGES)
    integers: dict[str, int] = {}
    edit_ratio = 0.0
    for number, field in enumerate(part.split(",")):
        if number == len(names):
            raise expected_at(text, start - 1, f'";" or the end after {len(names)} fields', ",")
        value = _value(text, start, field, names[number])
        if names[number] == "edit_ratio":
            edit_ratio = value
        else:
            integers[names[number]] = int(value)
        start += len(field) + 1
    return Group(**integers, edit_ratio=edit_ratio)


def _value(text: str, start: int, field: str, name: str) -> float:
    """Read one field, which begins at `start`."""
    what, low, high = _RANGES[name]
    kind, pattern = ("number", _DECIMAL) if name == "edit_ratio" else ("whole number", _INTEGER)
    word = field.strip()
    if pattern.fullmatch(word) and low <= float(word) <= high:
        return float(word) + 0.0  # no -0.0
    place = start + len(field) - len(field.lstrip()) if word else start
    found = word or text[start + len(field) : start + len(field) + 1]
    raise expected_at(text, place, f"the {what}, a {kind} from {low} to {high}", found)
