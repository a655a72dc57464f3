"""`ea-app generate`."""

import argparse

from ea_app.api import make_job
from ea_app.api.job import find_model
from ea_app.api.loops import read_prompt_options
from ea_app.api.loras import find_loras
from ea_app.api.output import check_output, default_output
from ea_app.api.weights import find_weights, paths_of
from ea_app.cli.console import Console
from ea_app.options import OPTIONS, InputError, parse


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    All that can be wrong with the options and the files is found before torch is imported, and what the model
    cannot do before its weights are read.
    """
    console = Console(quiet=arguments.quiet)
    values = {entry.key: getattr(arguments, entry.key) for entry in OPTIONS}
    given = read_prompt_options(parse({"prompt": arguments.prompt, **values}))
    if "lora_unmatched" in given and "lora" not in given:
        raise InputError("lora-unmatched", "needs --lora")
    weights = paths_of(find_weights(given))
    loras = find_loras(given.get("lora", ()), unmatched=given.get("lora_unmatched", "refuse"))
    model = find_model(
        given.get("model", "default"),
        motion_module=weights.get("motion_module"),
        allow_pickle=arguments.allow_pickle,
    )
    job = make_job(model, **given)
    output = given.get("output") or default_output(job.frames, given.get("format"))
    output = check_output(output, job.frames, job.files)

    from ea_app.api import Engine, Resume

    Engine.check(job, model, **weights, loras=loras)
    if job.prompt_server is not None:
        from ea_app.api.enhance import enhance

        console.note(f"asking {job.prompt_server.model} for a better prompt")
        job = enhance(job, model)
    for notice in job.notices:
        console.note_when_it_runs(notice)
    job = job.extracted(console.note)

    with console.progress() as on_progress:
        on_progress("load", 0, 1)
        machine = {key: given.get(key, "auto") for key in ("device", "dtype", "memory")}
        engine = Engine.load(model, **machine, **weights, loras=loras)
        on_progress("load", 1, 1)
        if engine.memory_note:
            console.note_when_it_runs(engine.memory_note)
        for note in engine.lora_notes:
            console.note_when_it_runs(note)
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
