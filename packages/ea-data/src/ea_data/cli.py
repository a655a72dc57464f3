"""The `ea-data` command."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

_USER_ERROR = 2


def build_parser() -> argparse.ArgumentParser:
    """The argument parser; building it imports nothing heavy."""
    defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(prog="ea-data", description="Make, inspect and judge data.")
    parser.add_argument("--debug", action="store_true", help="print a traceback when something fails")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    synth = commands.add_parser("synth", help="write the procedural shape data set", formatter_class=defaults)
    synth.add_argument("out", type=Path, help="output folder; an interrupted run continues")
    synth.add_argument("--count", type=int, default=100, help="number of items")
    synth.add_argument("--seed", type=int, default=0, help="seed of the data set")
    synth.add_argument("--frames", type=int, default=17, help="frames per clip; 1 writes pictures")
    synth.add_argument("--size", default="64x64", help="WIDTHxHEIGHT in pixels")
    synth.add_argument("--fps", type=float, default=8.0, help="frames per second")
    synth.add_argument(
        "--split", choices=("train", "heldout", "all"), default="train", help="which triples appear"
    )
    synth.add_argument(
        "--two-shapes", type=float, default=0.25, help="share of scenes with two shapes, 0 to 1"
    )

    probe = commands.add_parser("probe", help="describe a video or picture, as JSON")
    probe.add_argument("file", type=Path)
    probe.add_argument("--metadata", action="store_true", help="print the embedded text instead")

    judge = commands.add_parser("judge", help="say what a procedural clip shows, as JSON")
    judge.add_argument("file", type=Path)

    check = commands.add_parser("check", help="check every row of a manifest (.json, .jsonl or .csv)")
    check.add_argument("manifest", type=Path)
    check.add_argument("--root", type=Path, help="folder of relative paths; the manifest's own by default")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0, or 2 after a mistake of the user, told in one line on standard error.
    """
    arguments = build_parser().parse_args(argv)
    handler = {"synth": _synth, "probe": _probe, "judge": _judge, "check": _check}[arguments.command]
    try:
        handler(arguments)
    except (ValueError, OSError) as error:
        if arguments.debug:
            raise
        print(f"ea-data {arguments.command}: error: {error}", file=sys.stderr)
        return _USER_ERROR
    except KeyboardInterrupt:
        print(f"ea-data {arguments.command}: stopped", file=sys.stderr)
        return 130
    return 0


def _synth(arguments: argparse.Namespace) -> None:
    import time

    from ea_data.synthetic import SyntheticDataset
    from ea_data.synthetic.export import write_dataset

    width, _, height = arguments.size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(f"--size is {arguments.size!r}; allowed: WIDTHxHEIGHT, such as 64x64")
    dataset = SyntheticDataset(
        arguments.seed,
        arguments.frames,
        int(height),
        int(width),
        split=arguments.split,
        length=arguments.count,
        two_shapes=arguments.two_shapes,
    )
    begin = time.monotonic()

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            left = (time.monotonic() - begin) / done * (total - done)
            print(f"\r{done}/{total}  {left:.0f} s left ", end="" if done < total else "\n", file=sys.stderr)

    print(write_dataset(arguments.out, dataset, fps=arguments.fps, progress=progress))


def _probe(arguments: argparse.Namespace) -> None:
    import json
    from dataclasses import asdict

    from ea_data.media import probe, read_metadata

    if arguments.metadata:
        print(read_metadata(arguments.file) or "")
    else:
        print(json.dumps(asdict(probe(arguments.file)), ensure_ascii=False, indent=1))


def _judge(arguments: argparse.Namespace) -> None:
    import json
    from dataclasses import asdict

    from ea_data.media import read_frames
    from ea_data.synthetic.judge import judge

    print(json.dumps(asdict(judge(read_frames(arguments.file))), indent=1))


def _check(arguments: argparse.Namespace) -> None:
    from ea_data.manifest import read_manifest

    manifest = read_manifest(arguments.manifest, root=arguments.root)
    print(f"{len(manifest.entries)} rows, all good")


if __name__ == "__main__":
    sys.exit(main())
