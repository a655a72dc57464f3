"""`ea-app models`: what is there, what it is, whether it is whole; fetching and making models."""

import argparse
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ea_app.catalog import bundled, bundled_loras
from ea_app.cli.console import Console
from ea_app.hub import fetch
from ea_app.options import InputError, concerning

if TYPE_CHECKING:
    from ea_dit.pipelines.generations import Generation

_BILLION = 10**9


def run(arguments: argparse.Namespace) -> int:
    """Run the action that was asked for, listing if none; returns the exit code."""
    actions = {"inspect": _inspect, "verify": _verify, "fetch": _fetch, "make-tiny": _make_tiny}
    return actions.get(arguments.action, _list)(arguments)


def _list(arguments: argparse.Namespace) -> int:
    models = list(bundled())
    for model in models:
        info = model.info
        size = f"{info.native_width}x{info.native_height}x{info.native_frames}"
        facts = f"{size}, {info.steps} steps, {model.size() / 1e6:.0f} MB"
        print(f"{model.name}: {facts}. {info.description}".rstrip())
        if not arguments.quiet:
            print(f"  {model.directory}")
    if not models and not arguments.quiet:
        print("no model is bundled with this installation")
    for name, file in bundled_loras().items():
        print(f"{name}: LoRA of default, {file.stat().st_size / 1e6:.1f} MB; --lora {name}")
    if not arguments.quiet:
        print("--model also takes a model directory, or owner/name of the hub")
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    directory = _directory(arguments.directory)

    from ea_app.api.inspection import inspect_model

    with concerning("directory"):
        found = inspect_model(directory, allow_pickle=arguments.allow_pickle)
    kind = found.family if found.variant is None else f"{found.family}, {found.variant} variant"
    print(f"{found.directory}: {kind}, {found.layout} layout")
    for part in found.parts:
        dtypes = ", ".join(part.dtypes) or "no weights"
        figures = f"{_count(part.parameters)} parameters, {dtypes}, {part.size / 1e6:.1f} MB"
        print(f"  {part.name:<14} {part.class_name}: {figures}")
    if found.modes:
        print(f"  modes          {', '.join(mode.replace('_', '-') for mode in found.modes)}")
    if found.generation is not None:
        print(f"  released for   {_defaults(found.generation)}")
    return 0


def _defaults(made: "Generation") -> str:
    length = "1 frame" if made.frames == 1 else f"{made.frames} frames at {made.fps} per second"
    return f"{made.width}x{made.height}, {length}, {made.steps} steps, guidance {made.guidance:g}"


def _verify(arguments: argparse.Namespace) -> int:
    directory = _directory(arguments.directory)
    listed = None if arguments.hashes is None else Path(arguments.hashes).expanduser()
    written = None if arguments.write_hashes is None else Path(arguments.write_hashes).expanduser()
    if listed is not None and not listed.is_file():
        raise InputError("hashes", f"{listed} is no file")

    from ea_app.api.verification import check_hashes, file_hashes, read_hashes, verify_model

    with concerning("hashes"):
        wanted = {} if listed is None else read_hashes(listed)
    works = True
    found = (verify_model(directory, allow_pickle=arguments.allow_pickle), check_hashes(directory, wanted))
    for finding in chain.from_iterable(found):
        works = works and finding.works
        if not (arguments.quiet and finding.works):
            line = f"{'ok  ' if finding.works else 'FAIL'}  {finding.subject:<14} {finding.detail}"
            print(line, flush=True)  # the next may take minutes
    if written is not None:
        lines = [f"{digest}  {path}" for digest, path in file_hashes(directory)]
        written.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0 if works else 1


def _fetch(arguments: argparse.Namespace) -> int:
    console = Console(quiet=arguments.quiet)
    with concerning("name"):
        made = fetch(
            arguments.name,
            revision=arguments.revision,
            directory=arguments.to,
            offline=arguments.offline,
            allow_pickle=arguments.allow_pickle,
        )
    console.say(f"{made.name}: {made.directory}")
    if made.commit is not None:
        console.note(f"--model {made.name}@{made.commit} stays with these files")
    return 0


def _make_tiny(arguments: argparse.Namespace) -> int:
    destination = Path(arguments.directory).expanduser()
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise InputError("directory", f"{destination} must be a new or an empty directory")

    from ea_dit.pipelines.tiny import TINY, make_tiny
    from ea_kernels.runtime.files import new_directory

    if arguments.family not in TINY:
        raise InputError("family", f"must be one of {', '.join(TINY)}; got {arguments.family!r}")
    with new_directory(destination) as draft:
        make_tiny(arguments.family, draft)
    Console(quiet=arguments.quiet).say(f"wrote {destination}: random weights, {arguments.family}")
    return 0


def _directory(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.is_dir():
        raise InputError("directory", f"{path} is no directory")
    return path


def _count(number: int) -> str:
    return f"{number / _BILLION:.2f} B" if number >= _BILLION else f"{number / 10**6:.3g} M"
