"""`ea-app ui`, and `ea-app` alone."""

import argparse
import os
import sys
from pathlib import Path

from ea_app.cli.console import Console
from ea_app.options import InputError


def run(arguments: argparse.Namespace) -> int:
    """Serve the studio until the process is told to end; returns 0."""
    from ea_app.jobs import JobsError, Settings, Supervisor
    from ea_app.ui.settings import UiSettings
    from ea_app.web.running import listen

    console = Console(quiet=arguments.quiet)
    settings = UiSettings(
        host=arguments.host,
        port=arguments.port,
        token=arguments.token or os.environ.get("EA_TOKEN") or None,
        device=arguments.device or "auto",
        models=_folder(arguments.models_dir),
        loras=_folder(arguments.loras_dir),
        motion_modules=_folder(arguments.motion_modules_dir),
        checkpoints=_folder(arguments.checkpoints_dir),
    )
    try:
        jobs_settings = Settings(
            preload="default" if arguments.model is None else arguments.model,
            queue_limit=arguments.queue_limit,
            timeout=arguments.timeout,
            devices=() if arguments.device is None else (arguments.device,),
        )
    except ValueError as error:
        field, _, reason = str(error).partition(" ")
        raise InputError(field, reason) from None

    def announce(address: str) -> None:
        console.note(f"studio: {address}  (Ctrl-C ends it)")
        if arguments.open:
            _open(address)

    with listen(settings.host, settings.port) as listener:
        try:
            supervisor = Supervisor(arguments.state, jobs_settings)
        except JobsError as error:
            raise InputError("state", str(error)) from None
        with supervisor as jobs:
            console.note(f"starting the studio; jobs are kept in {jobs.folder}")
            from ea_app.ui.server import serve

            serve(jobs, settings, listener, announce)
    return 0


def _folder(given: str | None) -> Path | None:
    return None if given is None else Path(given).expanduser()


def _open(address: str) -> None:
    """Open a browser where there is a desktop; one that draws on the terminal is none."""
    desktop = sys.platform in ("win32", "darwin") or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)
    if desktop and "SSH_CONNECTION" not in os.environ:
        import webbrowser

        webbrowser.open(address)
