"""Listening at an address, and serving there until the process is told to end."""

import contextlib
import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from ea_app.options import InputError

_BACKLOG = 256


def listen(host: str, port: int) -> socket.socket:
    """Take an address.

    Args:
        host: A name or a number.
        port: 0 takes a free one.

    Raises:
        InputError: It cannot be listened at.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except OSError as error:
        raise InputError("host", f"{host!r} is no address: {error.strerror}") from None
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        hint = "; give --port N" if error.errno == errno.EADDRINUSE else ""
        why = os.strerror(error.errno) if error.errno else str(error)  # its own text tells the place twice
        raise InputError("port", f"cannot listen at {host}:{port}: {why}{hint}") from None


def address_of(listener: socket.socket, host: str) -> str:
    """Where a browser finds it."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


class _Server(uvicorn.Server):
    """Says when it answers and when it is told to end."""

    def __init__(
        self, config: uvicorn.Config, on_start: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_start, self._on_end = on_start, on_end

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_end()
        super().handle_exit(sig, frame)

    def hang_up(self, _number: int, _frame: FrameType | None) -> None:
        """End as after SIGTERM; uvicorn, which does not know the signal, raises it to nobody again."""
        self._on_end()
        self.should_exit = True


def run(
    app: ASGIApp,
    listener: socket.socket,
    *,
    on_start: Callable[[], None] = lambda: None,
    on_end: Callable[[], None] = lambda: None,
    **config: Any,
) -> None:
    """Serve until the process is told to end (SIGINT, SIGTERM, SIGHUP).

    Args:
        app: Answers.
        listener: Result of `listen`; who called closes it.
        on_start: Called once it answers.
        on_end: Called when it is told to end, so that streams can stop.
        **config: More for `uvicorn.Config`.
    """
    settings = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False, **config
    )
    # What ended it is raised again by uvicorn, for whoever called; here it has been answered.
    server = _Server(settings, on_start, on_end)
    with contextlib.suppress(KeyboardInterrupt), _hung_up(server.hang_up):
        server.run(sockets=[listener])


@contextlib.contextmanager
def _hung_up(end: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """End in order when the terminal is closed too, which uvicorn does not know; `nohup` has it ignored."""
    number = getattr(signal, "SIGHUP", None)  # Windows has none
    main = threading.current_thread() is threading.main_thread()
    if number is None or not main or signal.getsignal(number) == signal.SIG_IGN:
        yield
        return
    before = signal.signal(number, end)
    try:
        yield
    finally:
        signal.signal(number, before)
