"""`ea-app ui`."""

import argparse
import os
from pathlib import Path

from ea_app.jobs import JobsError, Settings, Supervisor
from ea_app.options import InputError


def run(arguments: argparse.Namespace) -> int:
    """Serve the studio until the process is told to end; returns 0."""
    import errno
    import socket

    from ea_app.ui.settings import UiSettings

    try:
        settings = UiSettings(
            host=arguments.host,
            port=arguments.port,
            token=arguments.token or os.environ.get("EA_TOKEN") or None,
            models=_folder(arguments.models_dir),
            loras=_folder(arguments.loras_dir),
        )
        jobs_settings = Settings(
            preload="default" if arguments.model is None else arguments.model,
            queue_limit=arguments.queue_limit,
            timeout=arguments.timeout,
            devices=() if arguments.device is None else (arguments.device,),
        )
    except ValueError as error:
        field, _, reason = str(error).partition(" ")
        raise InputError(field, reason) from None
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            free.bind((settings.host, settings.port))
        except OSError as error:
            why = (
                "is taken; give --port N"
                if error.errno == errno.EADDRINUSE
                else f"cannot be used: {error.strerror}"
            )
            raise InputError("port", f"{settings.host}:{settings.port} {why}") from None
    try:
        with Supervisor(arguments.state, jobs_settings) as jobs:
            from ea_app.ui.server import serve

            if not arguments.quiet:
                address = f"http://{settings.host}:{settings.port}"
                print(f"studio: {address}  (jobs in {jobs.folder}; Ctrl-C ends it)", flush=True)
            serve(jobs, settings)
    except JobsError as error:
        raise InputError("state", str(error)) from None
    return 0


def _folder(given: str | None) -> Path | None:
    return None if given is None else Path(given).expanduser()
