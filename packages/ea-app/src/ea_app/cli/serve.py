"""`ea-app serve`."""

import argparse
import os

from ea_app.cli.console import Console
from ea_app.options import InputError


def run(arguments: argparse.Namespace) -> int:
    """Run the command until it is told to end; returns the exit code."""
    from ea_app.jobs import Bounds, JobsError, Settings, Supervisor
    from ea_app.server import Catalogue, ServerSettings, create_app, serve

    console = Console(quiet=arguments.quiet)
    settings = ServerSettings(
        host=arguments.host,
        port=_number("port", arguments.port, 0),
        token=arguments.token or os.environ.get("EA_TOKEN") or None,
        max_body=_number("max-upload", arguments.max_upload, 1) * 1_000_000,
        max_pixels=_number("max-pixels", arguments.max_pixels, 1),
    )
    workers = _number("workers", arguments.workers, 1)
    catalogue = Catalogue.of(arguments.model or (), arguments.lora or ())
    try:
        jobs = Settings(
            workers=workers,
            devices=_devices(arguments.device or [], workers),
            preload=catalogue.models[catalogue.default].name,
            queue_limit=_number("max-queue", arguments.max_queue, 1),
            timeout=None if arguments.timeout is None else _number("timeout", arguments.timeout, 1),
            bounds=Bounds(jobs=_number("keep", arguments.keep, 0)),
            ray=arguments.ray,
        )
    except InputError:
        raise
    except ValueError as error:
        field, _, reason = str(error).partition(" ")
        raise InputError(field, reason) from None
    if arguments.ray is not None:
        _join(arguments.ray, workers, console)
    try:
        supervisor = Supervisor(arguments.state, jobs)
    except JobsError as error:
        raise InputError("state", str(error)) from None
    with supervisor:
        app = create_app(supervisor, catalogue, settings)
        serve(app, settings, lambda address: console.note(f"serving {address} (page: {address}/docs)"))
        console.note("ending; jobs that run go on at the next start")
    return 0


def _join(address: str, workers: int, console: Console) -> None:
    """Join a Ray cluster before there is a server, and say what it has."""
    from ea_app.jobs import JobsError
    from ea_app.jobs.ray_process import connect

    try:
        found = connect(address)
    except JobsError as error:
        raise InputError("ray", str(error)) from None
    kind = "GPU" if found.get("GPU") else "CPU"
    places = int(found.get(kind, 0))
    if places < workers:
        raise InputError("workers", f"must be at most {places}, one a {kind} of the cluster, got {workers}")
    console.note(f"ray: {workers} of {places} {kind}s of the cluster")


def _devices(given: list[str], workers: int) -> tuple[str, ...]:
    if len(given) == 1:
        return (given[0],) * workers
    if given and len(given) != workers:
        raise InputError("device", f"must be given once, or once for each of {workers} workers")
    return tuple(given)


def _number(name: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text[:18])):
        raise InputError(name, f"must be a whole number of at least {least}, got {text!r}")
    return int(text[:18])
