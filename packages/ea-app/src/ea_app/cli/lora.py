"""`ea-app lora`: what a LoRA file is, other formats, merging into a model."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ea_app.api.loras import find_loras
from ea_app.cli.console import Console
from ea_app.options import InputError

if TYPE_CHECKING:
    from ea_dit.lora import LoraInspection

_SHOWN = 12
_SHOWN_NAMES = 10
_MEGABYTE = 10**6


def run(arguments: argparse.Namespace) -> int:
    """Run the action that was asked for; returns the exit code."""
    actions = {"inspect": _inspect, "merge": _merge, "convert": _convert}
    return actions[arguments.action](arguments)


def _inspect(arguments: argparse.Namespace) -> int:
    path = _existing(arguments.file)

    from ea_app.api.lora_files import inspect_file

    found = inspect_file(path, arguments.model, allow_pickle=arguments.allow_pickle)
    _print_summary(path, found)
    _print_blocks(found, every=arguments.all)
    if found.report is None:
        return 0
    print(f"model: {found.report.summary()}")
    for title, names in (
        ("unmatched", found.report.unmatched),
        ("misshapen", found.report.misshapen),
        ("text encoder", found.report.text_encoder),
    ):
        shown = names if arguments.all else names[:_SHOWN_NAMES]
        for name in shown:
            print(f"  {title}: {name}")
        if len(names) > len(shown):
            print(f"  {title}: {len(names) - len(shown)} more; --all shows them")
    return 1 if found.report.left_over or not found.report.matched else 0


def _print_summary(path: Path, found: "LoraInspection") -> None:
    from ea_dit.lora.factors import NAMES

    kinds = ", ".join(f"{count} {NAMES[kind]} layers" for kind, count in found.kinds.items())
    print(f"{path}: {found.format} names, {kinds}, {', '.join(found.dtypes)}")
    print(f"  rank {_span(found.ranks)}, alpha {_span(found.alphas)}, {found.parameters:,} numbers")
    changes = [f"{name} ({count})" for name, count in list(found.changes.items())[:_SHOWN]]
    more = len(found.changes) - len(changes)
    print(f"  changes {', '.join(changes)}" + (f" and {more} more" if more > 0 else ""))


def _print_blocks(found: "LoraInspection", *, every: bool) -> None:
    width = max(len("block"), *(len(block.name) for block in found.blocks))
    print(f"  {'block':<{width}}  layers  norm      most in")
    blocks = found.blocks if every or len(found.blocks) <= 2 * _SHOWN else ()
    head = blocks or (*found.blocks[:_SHOWN], *found.blocks[-_SHOWN:])
    for number, block in enumerate(head):
        if not blocks and number == _SHOWN:
            print(f"  ... {len(found.blocks) - 2 * _SHOWN} more; --all shows them")
        print(f"  {block.name:<{width}}  {block.layers:>6}  {block.norm:<8.4g}  {block.largest}")
    print(f"  {'all':<{width}}  {sum(found.kinds.values()):>6}  {found.norm:<8.4g}")


def _span(values: tuple[float, float] | None) -> str:
    if values is None:
        return "none"
    low, high = values
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _merge(arguments: argparse.Namespace) -> int:
    console = Console(quiet=arguments.quiet)
    destination = Path(arguments.output).expanduser()
    if destination.exists():
        raise InputError("output", f"{destination} exists already; name a new directory")
    loras = find_loras(arguments.files, unmatched=arguments.unmatched)

    from ea_app.api.lora_files import merge_files

    start = time.perf_counter()
    with console.progress() as on_progress:

        def report(done: int, total: int) -> None:
            on_progress("written MB", done // _MEGABYTE, max(1, total // _MEGABYTE))

        report(0, 1)
        made = merge_files(arguments.model, loras, destination, on_bytes=report)
    for note in made.notes:
        console.note(note)
    seconds = time.perf_counter() - start
    console.say(
        f"wrote {made.directory}: {made.tensors} tensors changed, {made.size / 1e9:.3g} GB in {seconds:.1f} s"
    )
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    console = Console(quiet=arguments.quiet)
    path, output = _existing(arguments.file), Path(arguments.output).expanduser()

    from ea_app.api.lora_files import convert_file

    made, layers = convert_file(
        path,
        output,
        arguments.format,
        model=arguments.model,
        layout=arguments.layout,
        allow_pickle=arguments.allow_pickle,
    )
    console.say(f"wrote {made}: {layers} layers, {arguments.format} names")
    return 0


def _existing(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.exists():
        raise InputError("file", f"{path} does not exist")
    if not path.is_dir() and not path.is_file():
        raise InputError("file", f"{path} is neither a file nor a folder")
    return path
