"""`ea-data control`: its arguments, one command for every kind, and what it does."""

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ea_data.control.kinds import KINDS, Kind, find_kind
from ea_data.control.options import Options, allowed, type_of

if TYPE_CHECKING:
    from ea_data.media import VideoReader

__all__ = ["add_kinds", "options_of", "run"]

_FPS_OF_A_PICTURE = 8.0
_SAME_RATE = 0.02  # time stamps are rounded, and the last frame may be shown longer
_LOWEST_FPS, _HIGHEST_FPS = 0.1, 240.0  # that can be written
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
    from ea_data.media import check_output, open_writer, probe, read_image, write_video  # noqa: PLC0415

    kind = find_kind(arguments.kind)
    options = options_of(kind, arguments)
    output = check_output(arguments.output)
    if output.exists() and output.samefile(arguments.input):
        raise ValueError(f"input and output are the same file, {output}")
    picture = probe(arguments.input).kind == "image"
    if output.suffix.lower() == ".png" and not picture and output.with_suffix("").exists():
        raise ValueError(f"{output.with_suffix('')} exists; a video as .png makes a new folder of that name")
    maker = open_maker(kind.name, options, notify=notify)
    note = json.dumps(_note(kind, options, arguments.input))
    if picture:
        (made,) = maker([read_image(arguments.input)])
        progress(1, 1)
        return write_video(output, made[None], fps=_FPS_OF_A_PICTURE, metadata=note)
    with _frames_of(arguments.input) as reader:
        with open_writer(output, fps=_average_rate(reader), metadata=note) as writer:
            for made in maker(reader):
                writer.add(made)
                progress(writer.count, len(reader))
        return writer.path


def _frames_of(path: Path) -> "VideoReader":
    """The frames of a video one to one, as training counts them; no rate is evened out.

    Raises:
        MediaError: Not a video, damaged, or out of bounds.
    """
    from ea_data.media import Limits, MediaError, VideoReader  # noqa: PLC0415  (as above)

    reader, most = VideoReader(path), Limits().max_frames
    if len(reader) > most:
        reader.close()
        raise MediaError(f"cannot read {path}: {len(reader)} frames; allowed: at most {most}")
    return reader


def _average_rate(reader: "VideoReader") -> float:
    """Frames per second; of the time stamps where another rate is declared, as with variable ones."""
    last = float(reader.seconds[-1])
    measured = (len(reader) - 1) / last if last > 0 else reader.fps
    rate = reader.fps if abs(measured - reader.fps) <= _SAME_RATE * reader.fps else measured
    return min(max(rate, _LOWEST_FPS), _HIGHEST_FPS)


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
