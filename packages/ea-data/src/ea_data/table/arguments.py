"""The arguments of `ea-data table`; this imports nothing heavy."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["OPERATIONS", "add_arguments"]

OPERATIONS: Final[Mapping[str, tuple[str, str]]] = {
    "filter": ("EXPRESSION", "keep rows for which it is true, such as 'aes >= 5 and words(text) > 4'"),
    "set": ("COLUMN=EXPRESSION", "compute a column, such as resolution=height*width"),
    "sort": ("COLUMN[:descending]", "order rows; those without a value come last"),
    "join": ("MANIFEST", "add what another manifest knows of the same files, where a row has nothing"),
    "add": ("MANIFEST", "put the rows of another manifest after these"),
    "only": ("MANIFEST", "keep files that another manifest names too"),
    "without": ("MANIFEST", "drop files that another manifest names"),
    "dedupe": ("COLUMN", "of rows with the same value keep the first, such as of file_path or text"),
    "clean": ("COLUMN", "take addresses, tags and words to the asker out of a text"),
    "sample": ("COUNT[:COLUMN,...]", "keep so many rows, or so many for each value of the columns"),
    "shuffle": ("SEED", "another order, the same for the same seed"),
    "columns": ("COLUMN,...", "keep these columns and file_path"),
}
"""Name to the form of its value, and what it does."""


class _InOrder(argparse.Action):
    """Operations are done in the order in which they are given, also those of different names."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        del parser, option_string
        done = [*getattr(namespace, "operations", ()), (self.dest, str(values))]
        namespace.operations = done


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of the command."""
    parser.set_defaults(operations=[])
    parser.add_argument("input", type=Path, metavar="INPUT", help="manifest (.json, .jsonl, .csv, .parquet)")
    parser.add_argument(
        "output", type=Path, nargs="?", metavar="OUTPUT", help="to write [only tell what there is]"
    )
    group = parser.add_argument_group("operations, done in the order in which they are given")
    for name, (form, text) in OPERATIONS.items():
        group.add_argument(f"--{name}", action=_InOrder, metavar=form, default=argparse.SUPPRESS, help=text)
    parser.add_argument(
        "--tokenizer", type=Path, metavar="FILE", help="tokenizer.json, or its directory, for tokens(text)"
    )
    split = parser.add_mutually_exclusive_group()
    split.add_argument("--shard", type=int, metavar="COUNT", help="write OUTPUT in so many parts")
    split.add_argument(
        "--split", metavar="COLUMN,...", help="a part for each value, such as of height,width,num_frames"
    )
    parser.add_argument("--absolute", action="store_true", help="write absolute names of files")
