"""`ea-data control`: its arguments, one command for every kind, and what it does."""

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ea_data.control.kinds import KINDS, Kind, find_kind
from ea_data.control.options import Options, allowed, type_of

__all__ = ["add_kinds", "options_of", "run"]

_FPS_OF_A_PICTURE = 8.0
_METAVARS = {int: "INT", float: "NUMBER", str: "TEXT"}


def add_kinds(parser: argparse.ArgumentParser) -> None:
    """Give the command its kinds, each with its own options; loads no other library."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND", title="kinds")
    for kind in KINDS.values():
        below = kinds.add_parser(
            kind.name,
            help=f"{kind.summary} (needs {kind.needs})",
            description=f"{kind.summary[0].upper()}{kind.summary[1:]}. Needs {kind.needs}.",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        below.add_argument("input", type=Path, help="a video or picture")
        below.add_argument("output", type=Path, help=".mp4, .gif, .webp or .png; one that exists is replaced")
        for field in dataclasses.fields(kind.options):
            _add_option(below, field)


def options_of(kind: Kind, arguments: argparse.Namespace) -> Options:
    """The options that a command line gives.

    Raises:
        ValueError: A wrong value.
    """
    names = [field.name for field in dataclasses.fields(kind.options)]
    return kind.options.of(kind.name, {name: getattr(arguments, name) for name in names})


def run(
    arguments: argparse.Namespace, *, notify: Callable[[str], None], progress: Callable[[int, int], None]
) -> Path:
    """Make the signal of a file, and write it with a note of what it is.

    Args:
        arguments: As `add_kinds` parses them.
        notify: Is told what is about to be downloaded.
        progress: Is told how many frames are done, and how many there are.

    Returns:
        What was written.

    Raises:
        ValueError: A wrong file or option, or something that is not installed.
    """
    from ea_data.control.makers import open_maker  # noqa: PLC0415  (so that --help is instant)
    from ea_data.media import check_output, probe, read_image, read_video, write_video  # noqa: PLC0415

    kind = find_kind(arguments.kind)
    options = options_of(kind, arguments)
    output = check_output(arguments.output)
    if output.exists() and output.samefile(arguments.input):
        raise ValueError(f"input and output are the same file, {output}")
    picture = probe(arguments.input).kind == "image"
    if output.suffix.lower() == ".png" and not picture and output.with_suffix("").exists():
        raise ValueError(f"{output.with_suffix('')} exists; a video as .png makes a new folder of that name")
    maker = open_maker(kind.name, options, notify=notify)
    if picture:
        frames, fps = read_image(arguments.input)[None], _FPS_OF_A_PICTURE
    else:
        video = read_video(arguments.input)
        frames, fps = video.frames, video.fps
    # Signals go where the frames were, so that there is one video in memory and not two.
    for index, made in enumerate(maker(frames)):
        frames[index] = made
        progress(index + 1, len(frames))
    return write_video(output, frames, fps=fps, metadata=json.dumps(_note(kind, options, arguments.input)))


def _add_option(parser: argparse.ArgumentParser, field: dataclasses.Field[Any]) -> None:
    kind, text = type_of(field), field.metadata["help"].replace("%", "%%")
    flag = "--" + field.name.replace("_", "-")
    if kind is bool:
        parser.add_argument(flag, action="store_true", help=text)
        return
    if field.metadata["least"] is not None:
        text = f"{text}; {allowed(field)}"
    parser.add_argument(flag, type=kind, default=field.default, metavar=_METAVARS[kind], help=text)


def _note(kind: Kind, options: Options, source: Path) -> dict[str, Any]:
    return {
        "control": kind.name,
        "version": kind.version,
        "options": dataclasses.asdict(options),
        "source": source.name,
    }
