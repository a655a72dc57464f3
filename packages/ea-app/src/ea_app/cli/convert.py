"""`ea-app convert`."""

import argparse
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ea_app.cli.console import Console
from ea_app.options import InputError, concerning

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_MEGABYTE = 10**6


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    console = Console(quiet=arguments.quiet)
    max_shard = parse_size(arguments.max_shard)
    source, destination = (Path(text).expanduser() for text in (arguments.source, arguments.destination))
    if not source.is_dir():
        raise InputError("source", f"{source} is no directory")
    if destination.exists():
        raise InputError("destination", f"{destination} exists already; name a new directory")

    from ea_app.api.conversion import convert

    start = time.perf_counter()
    with _naming_place(destination), console.progress() as on_progress:

        def report(done: int, total: int) -> None:
            on_progress("written MB", done // _MEGABYTE, max(1, total // _MEGABYTE))

        report(0, 1)
        made = convert(
            source,
            destination,
            layout=arguments.layout,
            max_shard=max_shard,
            dtype=arguments.dtype,
            on_bytes=report,
            allow_pickle=arguments.allow_pickle,
        )
    for notice in made.notices:
        console.note(f"note: {notice}")
    seconds = time.perf_counter() - start
    what = f"{arguments.layout} layout, {made.tensors} tensors, {made.size / 1e9:.3g} GB in {seconds:.1f} s"
    console.say(f"wrote {made.directory}: {what}")
    return 0


@contextmanager
def _naming_place(destination: Path) -> Iterator[None]:
    """Turns a ValueError into an `InputError`, about the destination if it begins with that."""
    try:
        yield
    except ValueError as error:
        ours = str(error).startswith((f"{destination} ", f"{destination}: "))
        with concerning("destination" if ours else "source"):
            raise


def parse_size(text: str) -> int:
    """Reads a number of bytes such as "5GB", "500 MB" or "2GiB".

    Raises:
        InputError: If it is none, or not above 0.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]i?B)\s*", text, re.IGNORECASE)
    size = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if size < 1:
        raise InputError("max-shard", f"must be a size such as 5GB or 500MB, got {text!r}")
    return size
