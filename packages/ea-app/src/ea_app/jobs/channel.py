"""Messages between a supervisor and its workers: one JSON object per line, over the pipes of a child process.

To a worker: `{"do": "load" | "run" | "cancel" | "stop", ...}`. From a worker: `{"is": "ready" | "progress" |
"notice" | "done" | "failed" | "cancelled", ...}`. No pickles, and nothing that only runs on one platform.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import IO, Any, Self

Message = Mapping[str, Any]


class Channel:
    """One end: lines in, lines out.

    Args:
        receive: Where messages come from.
        send: Where they go.
    """

    def __init__(self, receive: IO[bytes], send: IO[bytes]) -> None:
        self._receive, self._send = receive, send
        self._lock = threading.Lock()

    @classmethod
    def of_child(cls) -> Self:
        """The end of this process: stdin and stdout, which is taken away from whatever prints."""
        send = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        return cls(sys.stdin.buffer, send)

    def send(self, message: Message) -> bool:
        """Send a message; whether there is still somebody at the other end."""
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                self._send.write(line)
                self._send.flush()
        except (OSError, ValueError):  # a closed pipe, or a closed file
            return False
        return True

    def messages(self) -> Iterator[Message]:
        """Messages, until the other end is gone; a line that is none is passed over."""
        while True:
            try:
                line = self._receive.readline()
            except (OSError, ValueError):
                return
            if not line:
                return
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                yield message

    def close(self) -> None:
        """Close both pipes."""
        for stream in (self._send, self._receive):
            try:
                stream.close()
            except OSError:
                continue
