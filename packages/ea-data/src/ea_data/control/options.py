"""Options of control signals: frozen dataclasses whose fields carry a range and a sentence of help.

A field is an int, a float, a bool or a str. What has another type, is out of range or has no field is refused
by name.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

__all__ = ["Options", "option"]

_SHOWN = 80


def option(default: Any, help: str, *, least: float | None = None, most: float | None = None) -> Any:  # noqa: A002
    """A field of `Options`.

    Args:
        default: Its type is the type of the field.
        help: What it does, with the unit.
        least: Smallest number that is allowed.
        most: Largest number that is allowed.
    """
    return dataclasses.field(default=default, metadata={"help": help, "least": least, "most": most})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Base of the options of every kind; checks its fields when it is made.

    Raises:
        ValueError: A value of another type, or out of range.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            wanted = type_of(field)
            if wanted is float and type(value) is int and _in_range(field, value):
                object.__setattr__(self, field.name, value := float(value))
            if type(value) is not wanted or not _in_range(field, value):
                raise ValueError(f"{field.name} is {_shown(value)}; allowed: {allowed(field)}")

    @classmethod
    def of(cls, kind: str, given: Mapping[str, Any]) -> Self:
        """Options from names and values.

        Args:
            kind: What messages call the signal.
            given: Values by name; what is missing has its default.

        Raises:
            ValueError: A name that is no option of this kind, or a wrong value.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise ValueError(f"{kind} has no option {unknown[0]!r}; allowed: {', '.join(names)}")
        return cls(**given)

    @classmethod
    def of_text(cls, kind: str, text: str) -> Self:
        """Options from one line, such as "low=50,high=150"; yes and no, or true and false, for a switch.

        Args:
            kind: What messages call the signal.
            text: Names and values; empty for the defaults.

        Raises:
            ValueError: See `of`; not such a line, or a name that comes twice.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        given: dict[str, Any] = {}
        for part in text.split(",") if text.strip() else ():
            name, equals, value = (piece.strip() for piece in part.partition("="))
            name = name.replace("-", "_")
            if not equals or name in given:
                raise ValueError(f"{part.strip()!r} in {text!r}; allowed: NAME=VALUE, each name once")
            given[name] = _from_text(fields[name], value) if name in fields else value
        return cls.of(kind, given)


def type_of(field: dataclasses.Field[Any]) -> type:
    """The type of a field of `Options`."""
    return type(field.default)


def allowed(field: dataclasses.Field[Any]) -> str:
    """The type and range of a field, in words."""
    names = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
    least, most = field.metadata["least"], field.metadata["most"]
    if least is None:
        return names[type_of(field)]
    end = "or more" if most is None else f"to {most:g}"
    return f"{names[type_of(field)]}, {least:g} {end}"


def _from_text(field: dataclasses.Field[Any], text: str) -> Any:
    wanted = type_of(field)
    if wanted is bool:
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text)
    try:
        return wanted(text)
    except ValueError:
        return text  # which is refused by name


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number that is too long"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _in_range(field: dataclasses.Field[Any], value: Any) -> bool:
    least, most = field.metadata["least"], field.metadata["most"]
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return (least is None or value >= least) and (most is None or value <= most)
