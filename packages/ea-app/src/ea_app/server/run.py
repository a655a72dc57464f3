"""Listening, until told to end."""

import contextlib
import socket
from collections.abc import Callable
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from ea_app.options import InputError
from ea_app.server.settings import ServerSettings

_CONNECTIONS = 256
_GRACE_SECONDS = 5


class _Server(uvicorn.Server):
    """Tells streams that the end has come, so that it need not wait for them."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        parts = cast(FastAPI, self.config.app).state.parts
        parts.watching.ending = True
        super().handle_exit(sig, frame)


def serve(app: FastAPI, settings: ServerSettings, announce: Callable[[str], None] | None = None) -> None:
    """Serve until the process is told to end (SIGINT, SIGTERM).

    Args:
        app: Result of `create_app`.
        settings: The same as the application's.
        announce: Is told the address once it answers there.

    Raises:
        InputError: The address cannot be listened at.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        h11_max_incomplete_event_size=1 << 16,
    )
    with _listening(settings) as listener:
        if announce is not None:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            announce(f"http://{host}:{listener.getsockname()[1]}")
        # What ended it is raised again by uvicorn, for whoever called; here it has been answered.
        with contextlib.suppress(KeyboardInterrupt):
            _Server(config).run(sockets=[listener])


def _listening(settings: ServerSettings) -> socket.socket:
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
    except OSError as error:
        raise InputError("host", f"{settings.host!r} is no address: {error.strerror}") from None
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=256)
    except OSError as error:
        raise InputError(
            "port", f"cannot listen at {settings.host}:{settings.port}: {error.strerror}"
        ) from None
