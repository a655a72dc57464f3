"""What `ea-data table` does."""

import argparse
from pathlib import Path

from ea_data.curation.names import short_name
from ea_data.table.expression import FUNCTIONS
from ea_data.table.operations import grouped, operations_with, sharded
from ea_data.table.rows import TableRow, check_suffix, read_rows, write_rows
from ea_data.table.summary import summary_lines
from ea_data.table.texts import token_counter

__all__ = ["run"]

_MOST_PARTS = 10_000
_PART_BYTES = 100


def run(arguments: argparse.Namespace) -> str:
    """Do what a command line says.

    Args:
        arguments: As `ea_data.table.arguments` describes them.

    Returns:
        What to print: rows after every operation, and what was written; without an output what is there.

    Raises:
        ValueError: A mistake of the user.
    """
    output: Path | None = arguments.output
    if output is not None:
        check_suffix(output)
        if output.exists() and output.samefile(arguments.input):
            raise ValueError(f"INPUT and OUTPUT are the same file, {output}")
    elif arguments.shard is not None or arguments.split is not None:
        raise ValueError("OUTPUT is missing; --shard and --split write files")
    tokenizer: Path | None = arguments.tokenizer
    more = {} if tokenizer is None else {"tokens": token_counter(tokenizer)}
    operations = operations_with({**FUNCTIONS, **more})
    rows = read_rows(arguments.input)
    told = [f"{len(rows):>9}  {arguments.input}"]
    for name, value in arguments.operations:
        rows = operations[name](rows, value)
        told.append(f"{len(rows):>9}  {name} {value}")
    if output is None:
        return "\n".join([*told[1:], *summary_lines(rows)])
    for path, part in _parts(rows, output, arguments.shard, arguments.split):
        write_rows(path, part, absolute=arguments.absolute)
        told.append(f"{len(part):>9}  {path}")
    return "\n".join(told)


def _parts(
    rows: list[TableRow], output: Path, shard: int | None, split: str | None
) -> list[tuple[Path, list[TableRow]]]:
    """What goes to which file."""
    if shard is not None:
        digits = len(str(shard - 1))
        return [
            (output.with_stem(f"{output.stem}-{number:0{digits}}"), part)
            for number, part in enumerate(sharded(rows, shard))
        ]
    if split is None:
        return [(output, rows)]
    groups = grouped(rows, split)
    if len(groups) > _MOST_PARTS:
        raise ValueError(f"--split {split} makes {len(groups)} files; allowed: at most {_MOST_PARTS}")
    found: dict[Path, list[TableRow]] = {}
    for values, group in groups.items():
        mark = short_name("-".join(values).replace("/", "_"), _PART_BYTES)
        path = output.with_stem(f"{output.stem}-{mark}")
        if path in found:
            path = output.with_stem(f"{output.stem}-{short_name(mark, _PART_BYTES, always=repr(values))}")
        found[path] = [row for _, row in group]
    return list(found.items())
