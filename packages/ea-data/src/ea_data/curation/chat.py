"""Asking a chat server that speaks OpenAI's protocol, until it gives an answer that can be used.

What can pass with time is tried again: no connection, a server that is busy (429) or broken (5xx), an answer
that is late, cut off, or not what was asked for. What is left after that is an error of one row, never a
wrong caption.
"""

import ipaddress
import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from ea_data.control.extras import load

__all__ = ["KEY_VARIABLE", "Answer", "ChatClient", "ChatError"]

KEY_VARIABLE: Final = "EA_CAPTION_API_KEY"
"""Environment variable of the server's key. It is no option: plans and command lines are kept in files."""

_MOST_BYTES: Final = 1 << 20
_LONGEST_PAUSE: Final = 60.0
_SHOWN: Final = 120


class ChatError(ValueError):
    """The server gave no answer that can be used; one line with the last reason."""


class _AgainError(Exception):
    """An attempt failed for a reason that may pass."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer.

    Attributes:
        text: As it is used.
        tokens: That the server wrote for it; 0 if it does not say.
    """

    text: str
    tokens: int


class ChatClient:
    """One server and model; to be used in several threads at once.

    Args:
        url: Of the API, such as http://127.0.0.1:8000/v1.
        model: Its name there.
        timeout: Seconds for each attempt.
        attempts: How often to ask.
        pause: Seconds before the second attempt; twice as long before each further one.

    Raises:
        ValueError: No such address, or the key cannot be sent.
    """

    def __init__(self, url: str, model: str, *, timeout: float, attempts: int, pause: float) -> None:
        self._httpx = load("httpx", extra="curation")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url is {url[:_SHOWN]!r}; allowed: the address of an API, http://HOST:PORT/v1")
        path = parts.path.rstrip("/")
        self._address = parts._replace(
            path=path if path.endswith("/completions") else path + "/chat/completions"
        )
        self._model, self._timeout, self._attempts, self._pause = model, timeout, attempts, pause
        # A proxy is none of a server on this machine; a redirect would carry the key elsewhere.
        self._client = self._httpx.Client(
            headers=_headers(),
            timeout=timeout,
            follow_redirects=False,
            trust_env=not _is_this_machine(parts.hostname),
        )

    def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        check: Callable[[str], str | None],
        *,
        temperature: float,
        max_tokens: int,
    ) -> Answer:
        """Ask until an answer passes.

        Args:
            messages: Of the chat.
            check: Makes the text that is used of an answer; None if it cannot be used.
            temperature: 0 or more.
            max_tokens: Longest answer; one that was cut off there cannot be used.

        Raises:
            ChatError: There is none after all attempts, or the server refuses.
        """
        body = {
            "model": self._model,
            "messages": list(messages),
            "temperature": temperature,
            "max_tokens": max_tokens,
            "stream": False,
        }
        reason = ""
        for attempt in range(self._attempts):
            try:
                return self._attempt(body, check)
            except _AgainError as error:
                reason = str(error)
                if attempt + 1 < self._attempts:
                    time.sleep(self._wait(attempt, error.pause))
        raise ChatError(f"{reason} ({self._attempts} attempts)")

    def _wait(self, attempt: int, asked: float | None) -> float:
        """What the server asks for, or ever longer; a little different each time, so that workers spread."""
        pause = self._pause * 2**attempt if asked is None else asked
        return min(pause, _LONGEST_PAUSE) * random.uniform(0.8, 1.2)

    def _attempt(self, body: Mapping[str, Any], check: Callable[[str], str | None]) -> Answer:
        content = self._post(body)
        try:
            answer = json.loads(content)
            (choice,) = answer["choices"]
            text = choice["message"]["content"]
            tokens = int((answer.get("usage") or {}).get("completion_tokens") or 0)
        except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
            raise _AgainError(f"the server answered what is no chat completion: {_shown(content)}") from error
        if choice.get("finish_reason") == "length":
            raise _AgainError("the answer was cut off at its longest; see max_tokens")
        used = check(text) if isinstance(text, str) else None
        if not used:
            raise _AgainError(f"the answer cannot be used: {_shown(str(text).encode(errors='replace'))}")
        return Answer(text=used, tokens=tokens)

    def _post(self, body: Mapping[str, Any]) -> bytes:
        end, content = time.monotonic() + self._timeout, bytearray()
        try:
            with self._client.stream("POST", self._address.geturl(), json=body) as response:
                status = response.status_code
                for block in response.iter_bytes():
                    content += block
                    if len(content) > _MOST_BYTES:
                        raise _AgainError(f"the server answered with more than {_MOST_BYTES} bytes")
                    if time.monotonic() > end:
                        raise _AgainError(f"the answer took more than {self._timeout:g} s")
        except self._httpx.TimeoutException as error:
            raise _AgainError(f"the answer took more than {self._timeout:g} s") from error
        except self._httpx.HTTPError as error:
            raise _AgainError(f"the server cannot be reached ({type(error).__name__})") from error
        if status == 429 or status >= 500 or status == 408:
            raise _AgainError(f"the server is busy or broken (status {status})", _asked(response.headers))
        if status != 200:
            raise ChatError(f"the server refused (status {status}): {_shown(bytes(content))}")
        return bytes(content)


def _asked(headers: Mapping[str, str]) -> float | None:
    """Seconds of `Retry-After`, if it has them."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None


def _shown(content: bytes) -> str:
    text = " ".join(content.decode(errors="replace").split())
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"{KEY_VARIABLE} has to be printable ASCII")  # its value is never shown
    return {"Authorization": f"Bearer {key}"} if key else {}


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
