"""Timesteps that are given instead of those of a schedule's own spacing."""

import math
from collections.abc import Sequence
from itertools import pairwise

Table = tuple[float, ...]
"""Timesteps as the network is told them, falling; empty where a schedule spaces its own."""


def check_table(table: object, most: int) -> None:
    """Refuses what no schedule could visit.

    Args:
        table: Timesteps.
        most: How many there may be.

    Raises:
        ValueError: Beginning with "timesteps", and saying what is allowed.
    """
    if not isinstance(table, Sequence) or isinstance(table, str | bytes):
        raise ValueError(f"timesteps must be numbers in a row, got {table!r}")  # noqa: TRY004
    if not 1 <= len(table) <= most:
        raise ValueError(f"timesteps must be 1 to {most} numbers, got {len(table)}")
    for number in table:
        # Written so that "not a number" fails the comparison.
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf:
            raise ValueError(f"timesteps must be numbers from 0 up, got {number!r}")
    for before, after in pairwise(table):
        if after >= before:
            raise ValueError(f"timesteps must fall from one to the next, got {after:g} after {before:g}")


def visited(table: Table, count: int) -> list[float]:
    """The timesteps of a process with `count` of them, where fractions are fine.

    Raises:
        ValueError: If one is beyond the last.
    """
    if table[0] > count - 1:
        raise ValueError(f"timesteps must be at most {count - 1} for this model, got {table[0]:g}")
    return [float(number) for number in table]


def visited_whole(table: Table, count: int) -> list[int]:
    """The same for samplers that look levels up.

    Raises:
        ValueError: If one is beyond the last, or a fraction.
    """
    for number in visited(table, count):
        if number != int(number):
            raise ValueError(f"timesteps must be whole numbers with this sampler, got {number:g}")
    return [int(number) for number in table]


def flow_levels(table: Table, count: int) -> list[float]:
    """Noise levels of a flow, whose timestep is `count` times the level; no shift is applied.

    Raises:
        ValueError: If one is 0 or above `count`.
    """
    if not (table[0] <= count and table[-1] > 0):
        wrong = table[0] if table[0] > count else table[-1]
        raise ValueError(f"timesteps must be above 0 and at most {count} for this model, got {wrong:g}")
    return [number / count for number in table]
