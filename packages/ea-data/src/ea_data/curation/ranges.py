"""Thresholds: the same words for every score that is too small or too large."""

from collections.abc import Mapping
from typing import Any

__all__ = ["check_ranges", "outside"]


def check_ranges(options: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse options that are out of their range.

    Raises:
        ValueError: With its name and what is allowed.
    """
    for name, (least, most) in ranges.items():
        value = getattr(options, name)
        if value is not None and not least <= value <= most:
            raise ValueError(f"{name} is {value:g}; allowed: {least:g} to {most:g}")


def outside(what: str, value: float, *, least: float | None = None, most: float | None = None) -> str:
    """Why a value is not accepted, or ""; the ends are accepted."""
    if least is not None and not value >= least:
        return f"{what} {value:.5g} is below {least:g}"
    if most is not None and not value <= most:
        return f"{what} {value:.5g} is above {most:g}"
    return ""
