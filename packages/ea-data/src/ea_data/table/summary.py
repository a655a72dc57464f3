"""What a table holds, column by column."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean

from ea_data.table.rows import TableRow, columns_of

__all__ = ["summary_lines"]


def summary_lines(rows: Sequence[TableRow]) -> Iterator[str]:
    """A line for each column: how many rows have it, and the range of its numbers or its values."""
    yield f"{len(rows)} row{'' if len(rows) == 1 else 's'}"
    for name in columns_of(rows):
        values = [row[name] for row in rows if row.get(name) not in (None, "")]
        yield f"{name:<24}{len(values):>9}  {_range(values)}"


def _range(values: Sequence[object]) -> str:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if numbers and len(numbers) == len(values):
        return f"{min(numbers):g} to {max(numbers):g}, mean {fmean(numbers):.5g}"
    counts = Counter(str(value) for value in values)
    if 0 < len(counts) <= 6:
        return ", ".join(f"{value[:40]} ({count})" for value, count in counts.most_common())
    return f"{len(counts)} different"
