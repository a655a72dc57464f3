"""What is done with the rows of a table. Every operation keeps the order of rows, unless it is about that."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from ea_data.curation.caption_text import cleaned
from ea_data.store import digest_text
from ea_data.table.expression import FUNCTIONS, Expression
from ea_data.table.rows import FILE, TableRow, columns_of, read_rows

__all__ = ["OPERATIONS", "grouped", "operations_with", "sharded"]

Rows = list[TableRow]
Functions = Mapping[str, Callable[[Any], Any]]


def _filter(rows: Rows, text: str, functions: Functions = FUNCTIONS) -> Rows:
    condition = Expression(text, functions)
    _check_columns(rows, condition.columns)
    return [row for row in rows if condition.is_met(row)]


def _set(rows: Rows, text: str, functions: Functions = FUNCTIONS) -> Rows:
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or not name.isidentifier() or name == FILE:
        raise ValueError(f"{text[:80]!r} sets nothing; allowed: COLUMN=EXPRESSION, not of {FILE}")
    expression = Expression(value, functions)
    _check_columns(rows, expression.columns)
    return [{**row, name: expression.value(row)} for row in rows]


def _sort(rows: Rows, text: str) -> Rows:
    name, _, order = text.partition(":")
    if order not in ("", "ascending", "descending"):
        raise ValueError(f"{text[:80]!r} is no order; allowed: COLUMN, COLUMN:descending")
    _check_columns(rows, {name})
    known = [row for row in rows if row.get(name) not in (None, "")]
    try:
        known.sort(key=lambda row: row[name], reverse=order == "descending")
    except TypeError as error:
        raise ValueError(f"column {name} has texts and numbers, which have no order") from error
    return known + [row for row in rows if row.get(name) in (None, "")]


def _join(rows: Rows, text: str) -> Rows:
    others = {row[FILE]: row for row in read_rows(Path(text))}
    return [{**row, **_new(row, others.get(row[FILE], {}))} for row in rows]


def _new(row: TableRow, other: Mapping[str, Any]) -> TableRow:
    return {name: value for name, value in other.items() if row.get(name) in (None, "")}


def _add(rows: Rows, text: str) -> Rows:
    return rows + read_rows(Path(text))


def _only(rows: Rows, text: str) -> Rows:
    others = {row[FILE] for row in read_rows(Path(text))}
    return [row for row in rows if row[FILE] in others]


def _without(rows: Rows, text: str) -> Rows:
    others = {row[FILE] for row in read_rows(Path(text))}
    return [row for row in rows if row[FILE] not in others]


def _dedupe(rows: Rows, name: str) -> Rows:
    _check_columns(rows, {name})
    seen: set[Any] = set()
    found: Rows = []
    for row in rows:
        value = row.get(name)
        key = " ".join(value.split()) if isinstance(value, str) else repr(value)
        if value in (None, "") or key not in seen:
            found.append(row)
        seen.add(key)
    return found


def _clean(rows: Rows, name: str) -> Rows:
    _check_columns(rows, {name})
    return [{**row, name: cleaned(row[name])} if isinstance(row.get(name), str) else row for row in rows]


def _sample(rows: Rows, text: str) -> Rows:
    """At most so many of each group, by a hash of their names: other rows change nothing for a file."""
    count, _, names = text.partition(":")
    if not count.isdecimal() or int(count) < 1:
        raise ValueError(f"{text[:80]!r} is no sample; allowed: COUNT or COUNT:COLUMN,..., COUNT 1 or more")
    chosen: set[int] = set()
    for group in grouped(rows, names).values():
        places = [number for number, row in group]
        places.sort(key=lambda number: digest_text(Path(rows[number][FILE]).name))
        chosen.update(places[: int(count)])
    return [row for number, row in enumerate(rows) if number in chosen]


def _shuffle(rows: Rows, seed: str) -> Rows:
    if not seed.isdecimal():
        raise ValueError(f"{seed[:80]!r} is no seed; allowed: whole numbers from 0")
    return [row for _, row in sorted(enumerate(rows), key=lambda each: digest_text(f"{seed} {each[0]}"))]


def _columns(rows: Rows, text: str) -> Rows:
    names = [name.strip() for name in text.split(",") if name.strip()]
    _check_columns(rows, set(names))
    return [{name: row[name] for name in dict.fromkeys((FILE, *names)) if name in row} for row in rows]


OPERATIONS: Final[Mapping[str, Callable[[Rows, str], Rows]]] = {
    "filter": _filter,
    "set": _set,
    "sort": _sort,
    "join": _join,
    "add": _add,
    "only": _only,
    "without": _without,
    "dedupe": _dedupe,
    "clean": _clean,
    "sample": _sample,
    "shuffle": _shuffle,
    "columns": _columns,
}
"""Those of `ea_data.table.arguments.OPERATIONS`, by name."""


def operations_with(functions: Functions) -> Mapping[str, Callable[[Rows, str], Rows]]:
    """The same, whose expressions may call other functions.

    Args:
        functions: By name, each of one value.
    """
    own = {name: partial(work, functions=functions) for name, work in (("filter", _filter), ("set", _set))}
    return {**OPERATIONS, **own}


def grouped(rows: Rows, names: str) -> dict[tuple[Any, ...], list[tuple[int, TableRow]]]:
    """Rows with their numbers by the values of some columns.

    Args:
        rows: All.
        names: COLUMN,...; one group if empty.

    Raises:
        ValueError: A column that no row has.
    """
    columns = [name.strip() for name in names.split(",") if name.strip()]
    _check_columns(rows, set(columns))
    found: dict[tuple[Any, ...], list[tuple[int, TableRow]]] = {}
    for number, row in enumerate(rows):
        found.setdefault(tuple(str(row.get(name, "")) for name in columns), []).append((number, row))
    return found


def sharded(rows: Rows, count: int) -> list[Rows]:
    """Parts whose lengths differ by one at most, one row after the other in turn.

    Raises:
        ValueError: More parts than rows, or none.
    """
    if not 1 <= count <= max(1, len(rows)):
        raise ValueError(f"shard is {count}; allowed: 1 to the number of rows, {len(rows)}")
    return [rows[start::count] for start in range(count)]


def _check_columns(rows: Sequence[TableRow], names: set[str]) -> None:
    known = columns_of(rows)
    if rows and (missing := sorted(names - set(known))):
        raise ValueError(f"there is no column {missing[0]!r}; there are {', '.join(known)[:300]}")
