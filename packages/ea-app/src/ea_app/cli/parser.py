"""Arguments of `ea-app`, from the option table. Imports nothing heavy: `--help` is instant."""

import argparse
import difflib
import re
from collections.abc import Callable
from importlib import metadata
from typing import Any, NoReturn

from ea_app.options import OPTIONS, PLANNED, InputError, option

_GROUPS = {
    "what": "what to generate",
    "inputs": "pictures and videos to start from",
    "output": "the file",
    "words": "a language model that rewrites the prompt first (off unless asked for)",
    "machine": "model and machine",
}
_ALLOW_PICKLE = "also read weights in .bin, .pt, .pth and .ckpt files, without running code in them"
_ARGUMENT = re.compile(r"argument (\S+?): (.*)", re.DOTALL)


_SEVERAL = {
    "keyframe": "write all in one, with commas between them",
    "references": "write all in one, with ;",
}


class _StoreOnce(argparse.Action):
    """Stores a value, and refuses a second one instead of forgetting the first."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        flag: str | None = None,
    ) -> None:
        if flag is not None and getattr(namespace, self.dest) is not self.default:
            name = flag.lstrip("-")
            raise InputError(name, f"is given twice; {_SEVERAL.get(name, 'give it once')}")
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are `InputError`s: one line, no usage before it."""

    def error(self, message: str) -> NoReturn:
        """Name the field of argparse's message."""
        if message.startswith("the following arguments are required: "):
            field = message.removeprefix("the following arguments are required: ").split(",")[0]
            raise InputError(field.lower(), f"is missing; see {self.prog} --help")
        if found := _ARGUMENT.fullmatch(message):
            field = found[1].split("/")[-1].lstrip("-").lower()
            raise InputError(field, f"{found[2]}; see {self.prog} --help")
        raise InputError("arguments", message)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Say here what is unknown, where the options of the command are known."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self._unknown(rest[0])
        return found, rest

    def _unknown(self, name: str) -> NoReturn:
        flag = name.split("=")[0]
        if not flag.startswith("-"):
            raise InputError(
                "arguments", f"{name!r} is one too many; put a prompt of several words in quotes"
            )
        known = [text for action in self._actions for text in action.option_strings]
        close = difflib.get_close_matches(flag, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"see {self.prog} --help"
        raise InputError(flag, f"unknown option; {hint}")


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="ea-app",
        description="Generate videos and images.",
        epilog="ea-app alone, at a terminal, opens the studio.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_generate(commands.add_parser)
    _add_plan(commands.add_parser)
    _add_decode(commands.add_parser)
    _add_replay(commands.add_parser)
    _add_diff(commands.add_parser)
    _add_models(commands.add_parser)
    _add_convert(commands.add_parser)
    _add_lora(commands.add_parser)
    _add_serve(commands.add_parser)
    _add_ui(commands.add_parser)
    _add_comfy(commands.add_parser)
    doctor = commands.add_parser("doctor", help="check this installation", allow_abbrev=False)
    _add_option(doctor.add_argument, "model")
    _add_common(doctor)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"ea-app {metadata.version('ea-app')}")
        parser.exit()


def _add_generate(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "generate",
        help="make a video or an image from a prompt",
        description="Make a video or an image, from words alone or also from pictures or a video.",
        allow_abbrev=False,
    )
    parser.add_argument("prompt", metavar="PROMPT", nargs="?", help="what to show, in quotes")
    for group, title in _GROUPS.items():
        section = parser.add_argument_group(title)
        for entry in OPTIONS:
            if entry.group == group:
                _add_option(section.add_argument, entry.key)
    _add_batch(parser.add_argument_group("a file of prompts, one a line, instead of PROMPT").add_argument)
    parser.add_argument(
        "--resume-dir",
        metavar="DIR",
        help="keep steps and latents here, and go on from what is there: for long jobs; one folder a job",
    )
    _add_allow_pickle(parser)
    _add_common(parser)


def _add_batch(add: Callable[..., object]) -> None:
    add("--prompts", metavar="FILE", help="text file; the model is loaded once for all of them")
    add("--start-index", metavar="N", help="first line that is taken, counted from 0 [default: 0]")
    add("--end-index", metavar="N", help="line before which it ends [default: all]")
    add(
        "--num-sample",
        metavar="N",
        help="results of each prompt, with seeds that follow each other [default: 1]",
    )
    add("--sample-name", metavar="NAME", help="how names of files begin [default: sample]")
    add("--prompt-as-path", action="store_true", help="name files after their prompts, not their lines")
    add("--save-dir", metavar="DIR", help="where files are written [default: the present folder]")


def _add_plan(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "plan",
        help="say what memory and time a job will need",
        description="Say what memory and time a job will need, from the model's configs; nothing is loaded.",
        allow_abbrev=False,
    )
    for key in ("model", *PLANNED):
        _add_option(parser.add_argument, key)
    parser.add_argument(
        "--device", metavar="NAME", help="auto, cpu, cuda, cuda:N, or a GPU that is elsewhere, such as H200"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    _add_common(parser)


def _add_decode(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "decode",
        help="make a video of latents that a job kept",
        description="Make a video of latents that a job kept, in any format, with the autoencoder alone.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "latents", metavar="LATENTS", help="a latents-NNNN.safetensors; the other windows stand beside it"
    )
    parser.add_argument("--output", metavar="FILE", help="file to write [default: out.mp4 or out.png]")
    parser.add_argument("--model", metavar="NAME", help="where the model is now [default: as recorded]")
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N [default: as recorded]")
    _add_allow_pickle(parser)
    _add_common(parser)


def _add_replay(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "replay",
        help="make a result again from its file",
        description="Make a result again: the same frames, from the record in the file or beside it.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="a file that ea-app wrote, or its .json")
    parser.add_argument("--output", metavar="FILE", help="file to write [default: NAME-replay beside FILE]")
    parser.add_argument("--model", metavar="NAME", help="use this model instead of the recorded one")
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N [default: as recorded]")
    _add_allow_pickle(parser)
    _add_common(parser)


def _add_diff(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "diff",
        help="say which field explains that two results differ",
        description="Compare two results by their records: request, seed, inputs, hashes of model and LoRAs, "
        "machine, versions. Ends with 0 when the frames are the same, with 1 when they differ.",
        allow_abbrev=False,
    )
    parser.add_argument("first", metavar="FIRST", help="a file that ea-app wrote, or its .json")
    parser.add_argument("second", metavar="SECOND", help="another one")
    parser.add_argument(
        "--pixels",
        action="store_true",
        help="compare the frames in the files too, as is done where no field differs and frames do",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    _add_common(parser)


def _add_models(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "models",
        help="list, inspect, verify and fetch models",
        description="List the models in the box; look into model directories; fetch and make some.",
        allow_abbrev=False,
    )
    _add_common(parser)
    add_action = _actions(parser)
    add_action("list", "list the models in the box; the action without a name")
    inspect = add_action("inspect", "say what a model directory is: family, parts, sizes, layout, modes")
    inspect.add_argument("directory", metavar="DIR", help="model directory, or folder of one network")
    _add_allow_pickle(inspect)
    verify = add_action(
        "verify",
        "look for what is missing, extra, damaged or does not fit; reads all weights; compares hashes",
    )
    verify.add_argument("directory", metavar="DIR", help="model directory, or folder of one network")
    verify.add_argument("--hashes", metavar="FILE", help="compare files with a list as sha256sum writes it")
    verify.add_argument("--write-hashes", metavar="FILE", help="write such a list of all files")
    _add_allow_pickle(verify)
    fetch = add_action("fetch", "fetch a model from the hub, or go on with it: safetensors, no pickles")
    fetch.add_argument(
        "name", metavar="OWNER/NAME", help="name on the hub; OWNER/NAME@REVISION for a version"
    )
    fetch.add_argument("--revision", metavar="REV", help="commit, tag or branch [default: the newest]")
    fetch.add_argument(
        "--to", metavar="DIR", help="where to put it [default: the cache of the hub's library]"
    )
    fetch.add_argument("--offline", action="store_true", help="only look whether it is here")
    _add_allow_pickle(fetch, "also fetch .bin, .pt, .pth and .ckpt files")
    tiny = add_action("make-tiny", "make a tiny model directory with random weights, for tests")
    tiny.add_argument("family", metavar="FAMILY", help="such as v5.1-12b-inp; a wrong one lists all")
    tiny.add_argument("directory", metavar="DIR", help="new directory")


def _add_convert(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "convert",
        help="write a model in the layout of EasyAnimate or diffusers",
        description="Write a model directory, or the folder of one network, in another layout. Nothing is "
        "lost: the way back gives the same weights, bit for bit.",
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="SOURCE", help="model directory, or folder of one network")
    parser.add_argument("destination", metavar="DESTINATION", help="new directory")
    parser.add_argument("--layout", choices=("easyanimate", "diffusers"), required=True, help="whose layout")
    parser.add_argument(
        "--max-shard", metavar="SIZE", default="5GB", help="largest weight file [default: 5GB]"
    )
    parser.add_argument(
        "--dtype",
        choices=("keep", "float32", "bfloat16", "float16"),
        default="keep",
        help="number type of transformer and autoencoder [default: keep, which loses nothing]",
    )
    _add_allow_pickle(parser)
    _add_common(parser)


def _add_lora(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "lora",
        help="look into LoRA files, convert them, merge them into a model",
        description="Look into LoRA files, write them in another format, merge them into a model.",
        allow_abbrev=False,
    )
    _add_common(parser)
    add_action = _actions(parser, required=True)
    inspect = add_action("inspect", "say what a LoRA is: rank, alpha, format, size of the change by block")
    inspect.add_argument("file", metavar="FILE", help="LoRA file, or folder of PEFT")
    inspect.add_argument("--model", metavar="NAME", help="also tell how it fits this model (0: all fits)")
    inspect.add_argument("--all", action="store_true", help="show every block and name")
    _add_allow_pickle(inspect)
    merge = add_action("merge", "write a model with LoRAs in its weights")
    merge.add_argument(
        "model", metavar="MODEL", help="bundled model, model directory, or owner/name of the hub"
    )
    merge.add_argument("files", metavar="FILE[:WEIGHT]", nargs="+", help="LoRA files, at a weight or 1")
    merge.add_argument("output", metavar="OUT", help="new directory")
    merge.add_argument(
        "--unmatched",
        choices=("refuse", "skip"),
        default="refuse",
        help="what becomes of layers that the model has no place for [default: refuse]",
    )
    convert = add_action("convert", "write a LoRA with the names of another program; no number changes")
    convert.add_argument("file", metavar="FILE", help="LoRA file, or folder of PEFT")
    convert.add_argument("output", metavar="OUT", help="new .safetensors file; for peft also a new folder")
    convert.add_argument(
        "--format", choices=("peft", "easyanimate", "kohya"), required=True, help="whose names"
    )
    convert.add_argument(
        "--layout",
        choices=("keep", "easyanimate", "diffusers"),
        default="keep",
        help="whose names layers of V5 and V5.1 get [default: keep]",
    )
    convert.add_argument("--model", metavar="NAME", help="what it is for [default: the release that it fits]")
    _add_allow_pickle(convert)


def _add_serve(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "serve",
        help="answer requests over HTTP",
        description="Answer requests over HTTP: a queue of jobs behind /v1/videos, and EasyAnimate's routes. "
        "The page at /docs lists all. Ctrl-C or SIGTERM ends it; jobs that run go on at the next start.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", metavar="ADDRESS", default="127.0.0.1", help="where to listen [default: 127.0.0.1]")
    add("--port", metavar="N", default="8000", help="0 takes a free one [default: 8000]")
    add(
        "--token",
        metavar="TEXT",
        help="what clients have to send; needed where others can reach ADDRESS. EA_TOKEN in the environment "
        "is the better place, since others may see arguments",
    )
    add(
        "--model",
        metavar="[ID=]NAME",
        action="append",
        help="bundled model, model directory, or owner/name of the hub that clients may use; may be given "
        "several times, the first is the default [default: default]",
    )
    add(
        "--lora",
        metavar="[ID=]FILE",
        action="append",
        help="LoRA file that clients may use; may be given several times",
    )
    _add_workers(add)
    add("--state", metavar="DIR", help="queue, history and results [default: the place of the platform]")
    add("--max-queue", metavar="N", default="100", help="jobs that may wait [default: 100]")
    add("--timeout", metavar="SECONDS", help="that a job may take [default: any time]")
    add(
        "--keep",
        metavar="N",
        default="1000",
        help="jobs that are remembered after their end [default: 1000]",
    )
    add("--max-upload", metavar="MB", default="64", help="largest request [default: 64]")
    add(
        "--max-pixels",
        metavar="N",
        default=str(1 << 27),
        help=f"width x height x frames of a job, and of each file that is sent [default: {1 << 27}]",
    )
    _add_common(parser)


def _add_workers(add: Callable[..., object]) -> None:
    add("--workers", metavar="N", default="1", help="processes, each with a model of its own [default: 1]")
    add(
        "--device",
        metavar="NAME",
        action="append",
        help="auto, cpu, cuda or cuda:N; once, or once a worker [default: auto, for "
        "several workers cuda:0, cuda:1 and so on]",
    )
    add(
        "--ray",
        metavar="ADDRESS",
        nargs="?",
        const="auto",
        help="place workers on a Ray cluster: that of this machine, or HOST:PORT of its head, or local for "
        "one of its own; DIR and the models have to be at the same paths on all machines",
    )


def _add_ui(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "ui",
        help="open the studio: a page in the browser",
        description="Serve the studio, a page in the browser that queues jobs and shows what they make.",
        allow_abbrev=False,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on [default: 127.0.0.1]")
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="port [default: 7860]")
    parser.add_argument(
        "--token",
        metavar="TEXT",
        help="what visitors have to know, 16 characters or more; needed with any other --host; better in "
        "EA_TOKEN",
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser, as ea-app alone does")
    parser.add_argument("--models-dir", metavar="DIR", help="folder whose model directories may be chosen")
    parser.add_argument("--loras-dir", metavar="DIR", help="folder whose LoRA files may be chosen")
    parser.add_argument(
        "--motion-modules-dir", metavar="DIR", help="folder whose motion modules of V1 may be chosen"
    )
    parser.add_argument(
        "--checkpoints-dir", metavar="DIR", help="folder whose personalised checkpoints may be chosen"
    )
    parser.add_argument(
        "--state", metavar="DIR", help="where jobs and results are kept [default: the platform's place]"
    )
    parser.add_argument("--model", metavar="NAME", help="model to load at the start [default: default]")
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N [default: auto]")
    parser.add_argument(
        "--queue-limit", type=int, default=100, metavar="N", help="jobs that may wait [default: 100]"
    )
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds that a job may take")
    _add_common(parser)


def _add_comfy(add_parser: Callable[..., Parser]) -> None:
    parser = add_parser(
        "comfy",
        help="put the ComfyUI node pack into a custom_nodes folder",
        description="Put EasyAnimate's nodes, run by this installation, and their workflows into a ComfyUI.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", metavar="FOLDER", help="the custom_nodes of a ComfyUI")
    _add_common(parser)


def _actions(parser: Parser, *, required: bool = False) -> Callable[[str, str], Parser]:
    """Makes actions of a command, by name and one line of help."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=required)

    def add_action(name: str, text: str) -> Parser:
        action = actions.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False
        )
        _add_common(action, default=argparse.SUPPRESS)
        return action

    return add_action


def _add_option(add_argument: Callable[..., object], key: str) -> None:
    entry = option(key)
    text = entry.describe().replace("%", "%%")
    once = _StoreOnce if entry.group == "inputs" else "store"  # a second --steps replaces the first, as usual
    action = "append" if entry.many else once
    add_argument(f"--{entry.name}", dest=key, action=action, metavar=entry.metavar, help=text)


def _add_allow_pickle(parser: Parser, text: str = _ALLOW_PICKLE) -> None:
    parser.add_argument("--allow-pickle", action="store_true", help=text)


def _add_common(parser: Parser, *, default: Any = False) -> None:
    """Flags of every command; `SUPPRESS` as default keeps what was given before the name of an action."""
    parser.add_argument("--quiet", action="store_true", default=default, help="print nothing but mistakes")
    parser.add_argument(
        "--debug", action="store_true", default=default, help="show the traceback of a mistake"
    )
