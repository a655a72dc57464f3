"""Serving until the process is told to end."""

from __future__ import annotations

import os
import signal

import pytest

from ea_app.web.running import listen, run

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no signal of a closed terminal")


async def _nothing(_scope, receive, send):
    """Of the lifespan, that it starts and ends."""
    while (message := await receive())["type"].startswith("lifespan"):
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_ends_a_server_in_order_unless_it_is_to_be_ignored(ignored):
    told, before = [], signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    def hang_up():
        os.kill(os.getpid(), signal.SIGHUP)
        told.append("hung up")
        if ignored:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        with listen("127.0.0.1", 0) as listener:
            # uvicorn raises again what ended it, after it has put back who listens to it.
            terminated = signal.signal(signal.SIGTERM, signal.SIG_IGN)
            run(_nothing, listener, on_start=hang_up, on_end=lambda: told.append("ending"))
            signal.signal(signal.SIGTERM, terminated)
        after = signal.getsignal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert sorted(told) == ["ending", "hung up"]
    assert after == (signal.SIG_IGN if ignored else signal.SIG_DFL)
