"""How much may be sent, and headers that every answer has."""

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Send

from ea_app.web.access import RefusedError

HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


def check_length(headers: Headers, most: int) -> None:
    """Refuse a request that says that it is too large, before any of it is read.

    Raises:
        RefusedError: 400 or 413.
    """
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        raise RefusedError(400, "Content-Length is no number")
    if int(length) > most:
        raise too_large(most)


def limited(receive: Receive, most: int) -> Receive:
    """Receive no more than so many bytes, whatever was said before; `RefusedError` 413 beyond."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise too_large(most)
        return message

    return limited


def too_large(most: int) -> RefusedError:
    """The refusal of a large request."""
    return RefusedError(413, f"the request is too large; allowed: at most {most} bytes")


def with_headers(send: Send, headers: Mapping[str, str] = HEADERS, *, close: bool = False) -> Send:
    """Add headers to an answer that has none of the name; end the connection where the body is not read."""

    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            found = MutableHeaders(scope=message)
            for name, value in headers.items():
                found.setdefault(name, value)
            if close:
                found["connection"] = "close"
        await send(message)

    return sender
