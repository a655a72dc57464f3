"""Having a prompt rewritten by a chat server that speaks OpenAI's protocol, before anything is generated.

It never stops a job: where the server cannot be reached, takes too long or answers nonsense, the words of the
user are used, and a notice says so.
"""

import http.client
import ipaddress
import json
import os
import re
import time
import urllib.error
import urllib.request
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ea_app.api.job import Job
from ea_app.catalog import Model
from ea_app.options import InputError, concerning, parse

KEY_VARIABLE = "EA_PROMPT_API_KEY"
"""Environment variable of the server's key. It is no option: command lines are kept in histories."""

TIMEOUT_SECONDS = 60.0

_PATH = "/chat/completions"
_MAX_ANSWER_BYTES = 1 << 20
_MAX_CHARACTERS = 1500
_MAX_WORDS = 120
_BYTES_PER_WORD = 8
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
_QUOTES = ('""', "“”", "「」")

_INSTRUCTION = """\
A video generator reads one description and shows what it says. People often give it a few words; you turn \
them into a description that leaves nothing open.
Keep all that the person asked for: every subject, number, colour, name and action. Add only what fits it.
Write one paragraph in the person's language, at most {words} words long. Say who or what is seen, {action}, \
where it is, how it is lit, how the camera is placed{camera}, and what the picture looks like as a whole.
Describe what can be seen and nothing else: no sounds, thoughts, titles or instructions.{pictures}
Answer with the paragraph alone."""
_PICTURES = " The person also gives pictures that you do not see: contradict nothing that may be in them."


class _FailedError(Exception):
    """Why there is no rewritten prompt, in words that continue the name of the server."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another machine."""

    def redirect_request(self, *_: Any) -> None:
        return None


def enhance(job: Job, model: Model, *, timeout: float = TIMEOUT_SECONDS) -> Job:
    """Have the prompt of a job rewritten, if the job asks for it and it was not done yet.

    Args:
        job: Result of `make_job`.
        model: What will run it; its longest prompt is respected.
        timeout: Seconds to wait for the server in all.

    Returns:
        The job with the rewritten prompt, or with the user's own and a notice. Its `enhancement` goes into
        the record of the result, so that `replay` needs no server.

    Raises:
        InputError: The key in the environment cannot be sent.
    """
    server = job.prompt_server
    if server is None:
        return job
    original = job.fields["prompt"]
    address = _chat_address(server.url)
    shown = urlunsplit((*urlsplit(address)[:3], "", ""))
    enhancement = {"original": original, "server": shown, "model": server.model}
    key = _key()
    try:
        question = [{"role": "system", "content": _instruction(job, model)}]
        question.append({"role": "user", "content": original})
        answer = _ask(address, {"model": server.model, "messages": question, "stream": False}, key, timeout)
        text = _checked(answer, model.info.max_prompt_bytes)
    except _FailedError as error:
        notice = f"enhance-prompt: {shown} {error}; your own words are used"
        enhancement |= {"enhanced": None, "failed": str(error)}
    else:
        notice = f"prompt, rewritten by {server.model}: {text}"
        enhancement |= {"enhanced": text}
        job = replace(job, fields={**job.fields, "prompt": text})
    return replace(job, prompt_server=None, enhancement=enhancement, notices=(*job.notices, notice))


def _instruction(job: Job, model: Model) -> str:
    most = model.info.max_prompt_bytes
    still = job.frames == 1
    return _INSTRUCTION.format(
        words=_MAX_WORDS if most is None else max(1, min(_MAX_WORDS, most // _BYTES_PER_WORD)),
        action="and in which pose" if still else "what happens from the first moment to the last",
        camera="" if still else " and moves",
        pictures=_PICTURES if job.arrays.keys() - {"camera"} else "",
    )


def _chat_address(url: str) -> str:
    scheme, netloc, path, query, _ = urlsplit(url)
    path = path.rstrip("/")
    return urlunsplit((scheme, netloc, path if path.endswith(_PATH) else path + _PATH, query, ""))


def _key() -> str | None:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        # The value itself is never shown.
        raise InputError(KEY_VARIABLE, "must be printable ASCII")
    return key or None


def _ask(address: str, body: dict[str, Any], key: str | None, timeout: float) -> bytes:
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "ea-app"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(address, json.dumps(body).encode(), headers)
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if _is_this_machine(urlsplit(address).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    end = time.monotonic() + timeout
    answer = bytearray()
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as response:
            while block := response.read1(1 << 16):
                answer += block
                if len(answer) > _MAX_ANSWER_BYTES:
                    raise _FailedError(f"answered with more than {_MAX_ANSWER_BYTES} bytes")
                if time.monotonic() > end:
                    raise TimeoutError
    except (OSError, http.client.HTTPException) as error:
        raise _FailedError(_what_happened(error, timeout)) from error
    return bytes(answer)


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _what_happened(error: Exception, timeout: float) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"refused with HTTP status {error.code}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"did not answer within {timeout:g} s"
    if isinstance(reason, http.client.HTTPException) and not isinstance(reason, OSError):
        return f"does not speak HTTP ({type(reason).__name__})"
    return f"cannot be reached ({getattr(reason, 'strerror', None) or type(reason).__name__})"


def _checked(answer: bytes, most_bytes: int | None) -> str:
    """The rewritten prompt in an answer."""
    try:
        content = json.loads(answer)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise _FailedError("answered with something that is no chat completion") from None
    if not isinstance(content, str):
        raise _FailedError("answered without text")
    text = " ".join(_THOUGHTS.sub("", content).split())
    if len(text) > 1 and text[0] + text[-1] in _QUOTES:
        text = text[1:-1].strip()
    if not text:
        raise _FailedError("answered with an empty text")
    size = len(text.encode("utf-8", errors="replace"))
    if len(text) > _MAX_CHARACTERS or (most_bytes is not None and size > most_bytes):
        raise _FailedError(f"answered with a text that is too long for this model ({len(text)} characters)")
    try:
        with concerning("prompt"):
            return parse({"prompt": text})["prompt"]
    except InputError as error:
        raise _FailedError(f"answered with a text that {error.reason}") from None
