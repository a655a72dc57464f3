"""The `ea-data` command."""

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

_USER_ERROR = 2
_MAX_FRAMES = 1025
_LEAST_SIDE, _LEAST_SYNTHETIC_SIDE, _MAX_SIDE = 16, 8, 4096
_MAX_PIXELS = 2**30


class _Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong."""
        self.exit(_USER_ERROR, f"{self.prog}: error: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """The argument parser; building it imports nothing heavy."""
    defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = _Parser(prog="ea-data", description="Make, inspect and judge data.")
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

    _add_synthesize(
        commands.add_parser(
            "synthesize",
            help="write procedural scenes with their control signals, trajectories and cameras",
            description="Write a folder of procedural clips and of control signals that are exactly theirs, "
            "and a metadata.jsonl that names them. The same command continues what was stopped.",
            formatter_class=defaults,
        )
    )

    probe = commands.add_parser("probe", help="describe a video or picture, as JSON")
    probe.add_argument("file", type=Path)
    probe.add_argument("--metadata", action="store_true", help="print the embedded text instead")

    judge = commands.add_parser(
        "judge", help="say what a procedural clip shows, as JSON", formatter_class=defaults
    )
    judge.add_argument("file", type=Path)
    judge.add_argument(
        "--of",
        choices=("shapes", "pair", "camera"),
        default="shapes",
        help="the shapes and the background, two shapes and how they stand to each other, or the camera",
    )

    check = commands.add_parser(
        "check",
        help="name every wrong row of a manifest (.json, .jsonl, .csv, .parquet)",
        description="Name every wrong row of a manifest. Exit code 0 without one, 1 with one, 2 for "
        "wrong usage.",
    )
    check.add_argument("manifest", type=Path)
    check.add_argument("--root", type=Path, help="folder of relative paths; the manifest's own by default")

    _add_curation(commands.add_parser)
    _add_lint(commands.add_parser)
    _add_show(commands.add_parser)
    _add_control(commands.add_parser, defaults)
    _add_cache(commands.add_parser("cache", help="look after a store of encoded latents and texts"))
    return parser


def _add_synthesize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="output folder; made if its parent exists")
    parser.add_argument("--count", type=int, default=100, metavar="INT", help="number of samples")
    parser.add_argument("--size", default="64x64", metavar="WIDTHxHEIGHT", help="in pixels, even for clips")
    parser.add_argument(
        "--frames", type=int, default=17, metavar="INT", help="frames per clip; 1 writes pictures"
    )
    parser.add_argument("--fps", type=float, default=8.0, metavar="NUMBER", help="frames per second")
    parser.add_argument(
        "--scenes",
        default="one,two,camera",
        metavar="KIND,...",
        help="kinds that take turns: one (one shape), two (two shapes and how they stand to each other), "
        "camera (a shape, and a camera that moves)",
    )
    parser.add_argument(
        "--control",
        default="",
        metavar="KIND,...",
        help="control signals: canny, edges, masks, heat (videos), trajectory (.json), camera (.txt); the "
        "first one is the control_file_path of the rows",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="INT", help="seed of the scenes, 0 or more")
    parser.add_argument(
        "--split",
        choices=("train", "heldout", "all"),
        default="train",
        help="which combinations appear: those to train with, those kept out of training, or both",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="INT", help="processes; the files are the same for any"
    )


def _add_curation(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    from ea_data.curation.arguments import add_arguments, add_stage_arguments
    from ea_data.table.arguments import add_arguments as add_table_arguments

    add_arguments(
        add_parser(
            "run",
            help="turn footage into clips with captions and a manifest, by a plan",
            description="Cut, filter and caption the files of a folder or manifest. The same command "
            "continues what was stopped; another option measures anew only what depends on it. See "
            "docs/curation.md.",
        )
    )
    add_stage_arguments(
        add_parser(
            "stage",
            help="run one stage of curation by itself, with what it needs",
            description="Run one stage on the files of a folder or manifest, after those that give what it "
            "needs, and write a manifest with what it measured. See docs/curation.md.",
        )
    )
    text = "filter, sort, join, sample and split the rows of a manifest; see docs/table.md"
    add_table_arguments(add_parser("table", help=text, description=f"{text[0].upper()}{text[1:]}."))


def _add_lint(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    from ea_data.lint.arguments import add_arguments

    add_arguments(
        add_parser(
            "lint",
            help="say what training would keep and drop of a manifest, and what is wrong with it",
            description="Check the files and captions of a manifest against the recipe that they are to be "
            "trained with. Exit code 0 without an error, 1 with one, 2 for wrong usage.",
        )
    )


def _add_show(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    parser = add_parser(
        "show",
        help="show what a model would see of a row of a manifest",
        description="Show a row of a manifest as training with a recipe would: which frames, at which size, "
        "with which caption, mask and control, in which batch.",
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("id", metavar="ID", help="number of the row, from 0, or the name of its file")
    parser.add_argument("--epoch", type=int, default=0, metavar="INT", help="of training, from 0 [0]")
    parser.add_argument("--recipe", type=Path, help="file (.yaml, .json) with the data recipe [its defaults]")
    parser.add_argument("--root", type=Path, help="folder of relative paths [the manifest's own]")
    parser.add_argument(
        "--facts", type=Path, metavar="FILE", help="keep sizes and lengths of files in this .json file"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write clip, masked clip, control, a sheet of them and sample.json there; made if its parent "
        "exists [nothing is written]",
    )


def _add_control(add_parser: Callable[..., argparse.ArgumentParser], defaults: Any) -> None:
    from ea_data.control.command import add_kinds

    add_kinds(add_parser("control", help="make a control signal of a video or picture: edges, depth, poses"))
    camera = add_parser("camera", help="write a camera path as a text file", formatter_class=defaults)
    camera.add_argument(
        "path", help='moves such as "pan left + zoom in, then clockwise", or a camera text file'
    )
    camera.add_argument("--frames", type=int, default=49, help="number of poses")
    camera.add_argument(
        "--fps", type=float, default=8.0, help="of the video, to which a file is cut or stretched"
    )
    camera.add_argument("--output", type=Path, help="file to write; the screen by default")

    trajectory = add_parser(
        "trajectory", help="draw a trajectory (.json) as a model is shown it", formatter_class=defaults
    )
    trajectory.add_argument("file", type=Path)
    trajectory.add_argument("output", type=Path, help=".mp4, .gif or .webp")
    trajectory.add_argument("--frames", type=int, default=49, help="number of frames")
    trajectory.add_argument("--size", default="672x384", help="WIDTHxHEIGHT in pixels")
    trajectory.add_argument("--fps", type=float, default=8.0, help="frames per second")


def _add_cache(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("store", type=Path, help="folder of the store")
    common.add_argument("--json", action="store_true", help="print JSON instead of a table")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common]
        )

    wanted = "list of wanted samples, a recipe as JSON a line; see docs/cache-store.md"
    add("ls", "list the shards; exit code 1 if one cannot be used")
    plan = add("plan", "tell what is there, missing or stale; exit code 1 if something has to be made")
    plan.add_argument("wanted", type=Path, metavar="WANTED", help=wanted)
    plan.add_argument("--list", action="store_true", help="name every sample that is not there")
    plan.add_argument(
        "--sample-bytes", type=int, default=0, help="of one sample, for the forecast [mean of the store]"
    )
    add("verify", "read every byte and check it; exit code 1 if something is damaged")
    explain = add("explain", "tell what a sample is made of; exit code 1 if it is missing or damaged")
    explain.add_argument("sample", metavar="KEY", help="a key, its first digits (6 or more), or a source")
    explain.add_argument("--wanted", type=Path, help=f"{wanted}; tells why a sample is not there")
    collect = add("gc", "remove leftovers of writers that died, and on request more")
    collect.add_argument("--keep", type=Path, metavar="WANTED", help=f"drop all but the {wanted}")
    collect.add_argument("--deep", action="store_true", help="drop damaged samples and second copies too")
    collect.add_argument("--dry-run", action="store_true", help="tell what would be done, and do nothing")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0; 1 when `cache` found something missing or damaged, `check` a wrong row, or `lint` an error; 2 after
        a mistake of the user, told in one line on standard error.
    """
    arguments = build_parser().parse_args(argv)
    handlers: dict[str, Callable[[argparse.Namespace], int | None]] = {
        "synth": _synth,
        "synthesize": _synthesize,
        "probe": _probe,
        "judge": _judge,
        "check": _check,
        "run": _run,
        "stage": _stage,
        "table": _table,
        "lint": _lint,
        "show": _show,
        "control": _control,
        "camera": _camera,
        "trajectory": _trajectory,
        "cache": _cache,
    }
    try:
        return handlers[arguments.command](arguments) or 0
    except (ValueError, OSError, MemoryError) as error:
        if arguments.debug:
            raise
        what = "not enough memory" if isinstance(error, MemoryError) else error
        print(f"ea-data {arguments.command}: error: {what}", file=sys.stderr)
        return _USER_ERROR
    except KeyboardInterrupt:
        print(f"ea-data {arguments.command}: stopped", file=sys.stderr)
        return 130


def _synth(arguments: argparse.Namespace) -> None:
    from ea_data.synthetic import SyntheticDataset
    from ea_data.synthetic.export import write_dataset

    width, height = _size(arguments.size, _LEAST_SYNTHETIC_SIDE)
    dataset = SyntheticDataset(
        arguments.seed,
        arguments.frames,
        height,
        width,
        split=arguments.split,
        length=arguments.count,
        two_shapes=arguments.two_shapes,
    )
    print(write_dataset(arguments.out, dataset, fps=arguments.fps, progress=_progress()))


def _synthesize(arguments: argparse.Namespace) -> None:
    from ea_data.synthetic.folder import write_samples
    from ea_data.synthetic.samples import Plan

    width, height = _size(arguments.size, _LEAST_SYNTHETIC_SIDE)
    plan = Plan(
        num_frames=arguments.frames,
        height=height,
        width=width,
        fps=arguments.fps,
        scenes=_names(arguments.scenes),
        controls=_names(arguments.control),
        seed=arguments.seed,
        split=arguments.split,
    )
    written = write_samples(
        arguments.folder, plan, arguments.count, workers=arguments.workers, progress=_progress()
    )
    print(f"ea-data synthesize: {written.made} samples made, {written.kept} kept", file=sys.stderr)
    print(written.manifest)


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
    from ea_data.synthetic.judge import judge, judge_camera, judge_pair

    judges = {"shapes": judge, "pair": judge_pair, "camera": judge_camera}
    verdict = judges[arguments.of](read_frames(arguments.file))
    print(json.dumps(None if verdict is None else asdict(verdict), indent=1))


def _check(arguments: argparse.Namespace) -> int:
    from ea_data.manifest import NO_ROWS, Entry, iter_manifest

    count = wrong = 0
    empty = False
    for row in iter_manifest(arguments.manifest, root=arguments.root):
        count += 1
        if not isinstance(row, Entry):
            wrong += 1
            empty = row.reason == NO_ROWS
            print(row, file=sys.stderr)
    if wrong:
        told = "no rows; allowed: 1 or more" if empty else f"{wrong} of {count} rows wrong"
        print(f"ea-data check: error: {told}", file=sys.stderr)
        return 1
    print(f"{count} row{'' if count == 1 else 's'}, all good")
    return 0


def _run(arguments: argparse.Namespace) -> None:
    from ea_data.curation.command import run

    def notify(line: str) -> None:
        print(f"ea-data run: {line}", file=sys.stderr)

    print(run(arguments, notify=notify, progress=_stage_progress()))


def _stage(arguments: argparse.Namespace) -> None:
    from ea_data.curation.command import run_stage

    def notify(line: str) -> None:
        print(f"ea-data stage: {line}", file=sys.stderr)

    print(run_stage(arguments, notify=notify, progress=_stage_progress()))


def _table(arguments: argparse.Namespace) -> None:
    from ea_data.table.command import run

    print(run(arguments))


def _lint(arguments: argparse.Namespace) -> int:
    from ea_data.lint.command import run

    text, code = run(arguments, progress=_progress())
    print(text)
    return code


def _show(arguments: argparse.Namespace) -> None:
    from ea_data.training.show_command import run

    def notify(line: str) -> None:
        print(f"ea-data show: {line}", file=sys.stderr)

    print(run(arguments, notify=notify, progress=_progress()))


def _control(arguments: argparse.Namespace) -> None:
    from ea_data.control.command import run

    def notify(line: str) -> None:
        print(f"ea-data control: {line}", file=sys.stderr)

    print(run(arguments, notify=notify, progress=_progress()))


def _camera(arguments: argparse.Namespace) -> None:
    from ea_data.control.source import camera_path, camera_text
    from ea_data.media import write_text

    _check_frames(arguments.frames)
    if not (math.isfinite(arguments.fps) and arguments.fps > 0):
        raise ValueError(f"--fps is {arguments.fps:g}; allowed: numbers above 0")
    path = camera_path(camera_text(arguments.path), arguments.frames, arguments.fps, name=arguments.path)
    if arguments.output is None:
        print(path.to_text(), end="")
    else:
        print(write_text(arguments.output, path.to_text()))


def _trajectory(arguments: argparse.Namespace) -> None:
    from ea_data.control.trajectory import draw_trajectory, read_trajectory
    from ea_data.media import check_output, write_video

    _check_frames(arguments.frames)
    width, height = _size(arguments.size, _LEAST_SIDE)
    if arguments.frames * width * height > _MAX_PIXELS:
        most = _MAX_PIXELS // (width * height)
        raise ValueError(f"--frames is {arguments.frames}; allowed at {width}x{height}: 1 to {most}")
    check_output(arguments.output)
    paths = read_trajectory(arguments.file, height, width)
    video = draw_trajectory(paths, arguments.frames, height, width)
    print(write_video(arguments.output, video, fps=arguments.fps))


def _cache(arguments: argparse.Namespace) -> int:
    from ea_data.store.command import run

    text, code = run(arguments, progress=_progress())
    print(text)
    return code


def _progress() -> Callable[[int, int], None]:
    """A line on a terminal that says how far long work is, and nothing elsewhere."""
    import time

    begin = time.monotonic()

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            left = (time.monotonic() - begin) / done * (total - done)
            print(f"\r{done}/{total}  {left:.0f} s left ", end="" if done < total else "\n", file=sys.stderr)

    return progress


def _stage_progress() -> Callable[[str, int, int], None]:
    """The same for one stage after the other, each with its name."""
    import time

    begin, before, known = time.monotonic(), "", 0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal begin, before, known
        if stage != before:
            begin, before, known = time.monotonic(), stage, done
        if not sys.stderr.isatty() or not total:
            return
        new = done - known
        left = f"{(time.monotonic() - begin) / new * (total - done):.0f} s left" if new else ""
        end = "" if done < total else "\n"
        print(f"\r{stage}  {done}/{total}  {left:<16}", end=end, file=sys.stderr, flush=True)

    return progress


def _check_frames(frames: int) -> None:
    if not 1 <= frames <= _MAX_FRAMES:
        raise ValueError(f"--frames is {frames}; allowed: 1 to {_MAX_FRAMES}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text.strip() else ()


def _size(text: str, least: int) -> tuple[int, int]:
    sides = [int(side) for side in text.split("x") if re.fullmatch("[0-9]{1,9}", side)]
    if len(sides) != 2 or text.count("x") != 1 or not all(least <= side <= _MAX_SIDE for side in sides):
        rule = f"WIDTHxHEIGHT, such as 64x64, each from {least} to {_MAX_SIDE}"
        raise ValueError(f"--size is {text[:40]!r}; allowed: {rule}")
    return sides[0], sides[1]


if __name__ == "__main__":
    sys.exit(main())
