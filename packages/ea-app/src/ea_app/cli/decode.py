"""`ea-app decode`."""

import argparse
from pathlib import Path

from ea_app.api.job import find_model
from ea_app.api.output import default_output
from ea_app.cli.console import Console


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from ea_app.api.decoding import decode_latents, described

    console = Console(quiet=arguments.quiet)
    record = described(Path(arguments.latents).expanduser())
    model = find_model(
        arguments.model or record["model"]["name"],
        download=arguments.model is not None,
        allow_pickle=arguments.allow_pickle,
    )
    with console.progress() as on_progress:
        result = decode_latents(
            arguments.latents,
            output=arguments.output or default_output(record["request"]["num_frames"]),
            model=model,
            device=arguments.device,
            on_progress=on_progress,
        )
    console.wrote(result)
    return 0
