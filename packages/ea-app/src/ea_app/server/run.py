"""Listening, until told to end."""

from collections.abc import Callable

from fastapi import FastAPI

from ea_app.server.parts import Parts
from ea_app.server.settings import ServerSettings
from ea_app.web.running import address_of, listen, run

_CONNECTIONS = 256
_GRACE_SECONDS = 5
_HEAD_BYTES = 1 << 16


def serve(app: FastAPI, settings: ServerSettings, announce: Callable[[str], None] | None = None) -> None:
    """Serve until the process is told to end (SIGINT, SIGTERM).

    Args:
        app: Result of `create_app`.
        settings: The same as the application's.
        announce: Is told the address once it answers there.

    Raises:
        InputError: The address cannot be listened at.
    """
    parts: Parts = app.state.parts

    def end() -> None:  # streams are told, so that nobody waits for them
        parts.watching.ending = True

    with listen(settings.host, settings.port) as listener:
        address = address_of(listener, settings.host)
        run(
            app,
            listener,
            on_start=lambda: announce(address) if announce is not None else None,
            on_end=end,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            h11_max_incomplete_event_size=_HEAD_BYTES,
        )
