"""`ea-app generate`."""

import argparse

from ea_app.api.loops import read_prompt_options
from ea_app.api.output import check_output, default_output
from ea_app.cli.batch import BATCH, run_batch
from ea_app.cli.console import Console
from ea_app.cli.setup import Setup, ready
from ea_app.options import OPTIONS, InputError, parse


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    All that can be wrong with the options and the files is found before torch is imported, and what the model
    cannot do before its weights are read.
    """
    console = Console(quiet=arguments.quiet)
    values = {entry.key: getattr(arguments, entry.key) for entry in OPTIONS}
    if arguments.prompts is not None:
        return run_batch(arguments, values, console)
    for flag in BATCH:
        if getattr(arguments, flag.replace("-", "_")):
            raise InputError(flag, "needs --prompts")
    if arguments.prompt is None:
        raise InputError("prompt", "is missing; see ea-app generate --help")
    given = read_prompt_options(parse({"prompt": arguments.prompt, **values}))
    setup = Setup.of(given, allow_pickle=arguments.allow_pickle)
    job = setup.job(given)
    output = given.get("output") or default_output(job.frames, given.get("format"))
    output = check_output(output, job.frames, job.files)

    from ea_app.api import Resume

    setup.check(job)
    job = ready(job, setup.model, console)
    with console.progress() as on_progress:
        on_progress("load", 0, 1)
        engine = setup.load(console)
        on_progress("load", 1, 1)
        result = engine.generate(
            job,
            output=output,
            on_progress=on_progress,
            resume=None if arguments.resume_dir is None else Resume(folder=arguments.resume_dir),
        )
    for notice in result.notices:
        console.note(notice)
    console.wrote(result)
    return 0
