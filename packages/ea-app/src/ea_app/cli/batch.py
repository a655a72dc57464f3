"""`ea-app generate --prompts FILE`: a video for every line, on a model that is loaded once.

The options are those of Open-Sora's inference commands: which lines, how many samples of each, and how files
are called.
"""

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from ea_app.api.job import Job
from ea_app.api.loops import read_prompt_options
from ea_app.api.output import check_output, suffix_of
from ea_app.cli.console import Console
from ea_app.cli.setup import Setup, ready
from ea_app.options import MAX_SEED, InputError, parse

BATCH: Final = ("start-index", "end-index", "num-sample", "sample-name", "prompt-as-path", "save-dir")
"""Options that only a file of prompts has a use for."""

_LARGEST: Final = 10_000_000
_MOST: Final = 100_000
_NAME_BYTES: Final = 180


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """One of the results.

    Attributes:
        make: Makes its job, files read: only one of those is in memory at a time.
        output: Its file.
    """

    make: Callable[[], Job]
    output: Path


def run_batch(arguments: argparse.Namespace, values: Mapping[str, Any], console: Console) -> int:
    """Make all of them; every one is checked before the model is loaded.

    Raises:
        InputError: A mistake; of a line its number is said.
    """
    for flag, given in (("prompt", arguments.prompt), ("resume-dir", arguments.resume_dir)):
        if given is not None:
            raise InputError(flag, "cannot be combined with --prompts")
    if values.get("output") is not None:
        raise InputError("output", "is for one result; give --save-dir with --prompts")
    lines = _chosen(read_prompts(arguments.prompts), arguments)
    common = parse({key: value for key, value in values.items() if key != "output"})
    setup = Setup.of(common, allow_pickle=arguments.allow_pickle)
    samples = [*_samples(arguments, setup, common, lines)]
    for sample in samples:
        setup.check(sample.make())
    console.note(f"{len(samples)} results of {len(lines)} prompts")
    with console.progress() as on_progress:
        on_progress("load", 0, 1)
        engine = setup.load(console)
        on_progress("load", 1, 1)
    for sample in samples:
        job = ready(sample.make(), setup.model, console)
        with console.progress() as on_progress:
            result = engine.generate(job, output=sample.output, on_progress=on_progress)
        for notice in result.notices:
            console.note(notice)
        console.wrote(result)
    return 0


def read_prompts(name: str) -> list[str]:
    """The lines of a text file that say something.

    Raises:
        InputError: It cannot be read, is no text, or says nothing.
    """
    path = Path(name).expanduser()
    try:
        if path.is_file() and path.stat().st_size > _LARGEST:
            raise InputError("prompts", f"{path} is larger than {_LARGEST} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError("prompts", f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError("prompts", f"{path} is no text in UTF-8") from None
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise InputError("prompts", f"{path} holds no prompts; give one a line")
    return found


def _chosen(lines: list[str], arguments: argparse.Namespace) -> list[tuple[int, str]]:
    """Lines with their numbers, from --start-index to --end-index."""
    start = _number("start-index", arguments.start_index, 0, default=0)
    end = _number("end-index", arguments.end_index, 1, default=len(lines))
    chosen = [*enumerate(lines)][start:end]
    if not chosen:
        raise InputError(
            "start-index", f"leaves no prompt: there are {len(lines)}, taken are {start} up to {end}"
        )
    return chosen


def _samples(
    arguments: argparse.Namespace, setup: Setup, common: Mapping[str, Any], lines: list[tuple[int, str]]
) -> Iterator[_Sample]:
    """Every result with its job, made sure that it can be written and is written once."""
    count = _number("num-sample", arguments.num_sample, 1, default=1)
    folder = Path(arguments.save_dir or ".").expanduser()
    taken: dict[Path, int] = {}
    for index, line in lines:
        job = _job(setup, common, index, line)
        stem = _stem(arguments, index, line)
        for number in range(count):
            name = stem if count == 1 else f"{stem}-{number}"
            output = folder / f"{name}{suffix_of(job.frames, common.get('format'))}"
            if output in taken:
                raise InputError(
                    "prompt-as-path", f"gives prompts {taken[output]} and {index} one name, {output}"
                )
            taken[output] = index
            output = check_output(output, job.frames, job.files)
            yield _Sample(make=partial(_job, setup, common, index, line, number), output=output)


def _job(setup: Setup, common: Mapping[str, Any], index: int, line: str, number: int = 0) -> Job:
    """The job of a line; samples have seeds that follow each other."""
    try:
        job = setup.job(read_prompt_options({**common, "prompt": line}))
    except InputError as error:
        raise InputError(error.field, f"prompt {index}: {error.reason}") from error
    seed = (job.fields["seed"] + number) & MAX_SEED
    return replace(job, fields={**job.fields, "seed": seed})


def _stem(arguments: argparse.Namespace, index: int, prompt: str) -> str:
    """The name of a result without its ending."""
    if not arguments.prompt_as_path:
        return f"{_sample_name(arguments.sample_name)}_{index}"
    # Letters and digits of any language stay; what means something in a path does not.
    words = re.sub(r"[^\w .,-]+", "_", prompt).strip(" .") or "prompt"
    words = words.encode()[:_NAME_BYTES].decode(errors="ignore").strip()
    prefix = "" if arguments.sample_name is None else _sample_name(arguments.sample_name)
    return f"{prefix}{words}"


def _sample_name(given: str | None) -> str:
    if given is None:
        return "sample"
    if not given or Path(given).name != given:
        raise InputError("sample-name", f"must be the beginning of a file name, got {given!r}")
    return given


def _number(name: str, text: str | None, least: int, *, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and least <= int(text[:9]) <= _MOST):
        raise InputError(name, f"must be a whole number from {least} to {_MOST}, got {text!r}")
    return int(text[:9])
