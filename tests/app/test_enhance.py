"""Rewriting prompts: what is asked, what is taken, and that no server can stop a job."""

from __future__ import annotations

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ea_app.api.enhance import KEY_VARIABLE, enhance
from ea_app.api.job import Job, PromptServer, job_from_record
from ea_app.api.record import read_record
from ea_app.catalog import Model
from ea_app.model_info import ModelInfo
from ea_app.options import InputError, parse

MODEL = Model(name="m", directory=Path("m"), info=ModelInfo(name="m"))
SHORT = Model(name="s", directory=Path("s"), info=ModelInfo(name="s", max_prompt_bytes=64))


def _completion(content):
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()


@contextmanager
def _server(answer=b"", status=200, *, delay=None, headers=()):
    """A chat server that always gives one answer; yields its base address and the requests it got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.path, dict(self.headers), json.loads(body)))
            if delay is not None:
                delay.wait(20)
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", got
    finally:
        if delay is not None:
            delay.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def _job(url, frames=5, **more):
    server = PromptServer(url=url, model="writer")
    return Job(fields={"prompt": "a cat", "num_frames": frames, "seed": 1}, prompt_server=server, **more)


def test_the_prompt_is_rewritten_and_both_texts_are_kept():
    with _server(_completion("A grey cat\nwalks  left.")) as (url, got):
        job = enhance(_job(url), MODEL)
    assert job.fields == {"prompt": "A grey cat walks left.", "num_frames": 5, "seed": 1}
    assert job.notices == ("prompt, rewritten by writer: A grey cat walks left.",)
    assert job.prompt_server is None
    assert job.enhancement == {
        "original": "a cat", "server": f"{url}/chat/completions", "model": "writer",
        "enhanced": "A grey cat walks left.",
    }  # fmt: skip
    [(path, headers, body)] = got
    assert path == "/v1/chat/completions"
    assert "Authorization" not in headers
    assert set(body) == {"model", "messages", "stream"}
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"] == "a cat"
    assert enhance(job, MODEL) is job, "a prompt is rewritten once"


def test_the_instruction_fits_the_job():
    said = {}
    for name, job, model in (
        ("video", _job, MODEL), ("still", lambda url: _job(url, frames=1), MODEL), ("short", _job, SHORT),
        ("picture", lambda url: _job(url, arrays={"image": None}), MODEL),
    ):  # fmt: skip
        with _server(_completion("x")) as (url, got):
            enhance(job(url), model)
        said[name] = got[0][2]["messages"][0]["content"]
    assert "from the first moment to the last" in said["video"]
    assert "120 words" in said["video"]
    assert "moment" not in said["still"]
    assert "8 words" in said["short"]
    assert "pictures that you do not see" in said["picture"]
    assert len(set(said.values())) == 4


def test_the_key_comes_from_the_environment_and_is_never_shown(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, " secret ")
    with _server(_completion("x")) as (url, got):
        job = enhance(_job(f"{url}/chat/completions/?token=hidden#part"), MODEL)
    assert got[0][0] == "/v1/chat/completions?token=hidden"
    assert got[0][1]["Authorization"] == "Bearer secret"
    assert "secret" not in repr(job)
    assert "hidden" not in repr(job)
    monkeypatch.setenv(KEY_VARIABLE, "two\nlines")
    with pytest.raises(InputError, match=rf"^{KEY_VARIABLE}: must be printable ASCII$"):
        enhance(_job("http://127.0.0.1:1"), MODEL)


@pytest.mark.parametrize(
    ("content", "text"),
    [("“一只猫。”", "一只猫。"), ('"A cat."', "A cat."), ("<think>hm</think>\n\nA cat.", "A cat."),
     ('"A" and "B" talk', '"A" and "B" talk')],
)  # fmt: skip
def test_what_models_put_around_an_answer_is_removed(content, text):
    with _server(_completion(content)) as (url, _):
        assert enhance(_job(url), MODEL).fields["prompt"] == text


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (b"no", 401, "refused with HTTP status 401"),
        (b"", 500, "refused with HTTP status 500"),
        (b"{", 200, "answered with something that is no chat completion"),
        (b'{"choices": []}', 200, "answered with something that is no chat completion"),
        (b"[1]", 200, "answered with something that is no chat completion"),
        (b"\xff\xfe\xff", 200, "answered with something that is no chat completion"),
        (_completion(None), 200, "answered without text"),
        (_completion(" \n"), 200, "answered with an empty text"),
        (_completion("a\0b"), 200, "answered with a text that must not contain NUL characters"),
        (_completion("\ud800"), 200, "answered with a text that must be valid Unicode text"),
        (_completion("x" * 1501), 200, "answered with a text that is too long for this model (1501 char"),
        (b" " * (2 << 20), 200, "answered with more than 1048576 bytes"),
    ],
)
def test_answers_that_are_none_leave_the_words_of_the_user(answer, status, reason):
    with _server(answer, status) as (url, _):
        job = enhance(_job(url), MODEL)
    assert job.fields["prompt"] == "a cat"
    [notice] = job.notices
    assert notice.startswith(f"enhance-prompt: {url}/chat/completions {reason}")
    assert notice.endswith("; your own words are used")
    assert "\n" not in notice
    assert job.enhancement["enhanced"] is None
    assert reason in job.enhancement["failed"]


def test_texts_that_the_model_cannot_read_are_not_taken():
    with _server(_completion("红" * 22)) as (url, _):
        assert enhance(_job(url), SHORT).fields["prompt"] == "a cat"
        assert enhance(_job(url), MODEL).fields["prompt"] == "红" * 22


def test_a_server_that_is_away_or_slow():
    with _server() as (url, _):
        pass
    assert "cannot be reached (" in enhance(_job(url), MODEL).notices[0]
    with _server(_completion("x"), delay=threading.Event()) as (url, _):
        assert "did not answer within 0.1 s" in enhance(_job(url), MODEL, timeout=0.1).notices[0]


def test_a_redirect_is_not_followed(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    with _server(_completion("stolen")) as (other, got):
        location = [("Location", f"{other}/chat/completions")]
        with _server(status=302, headers=location) as (url, _):
            assert "HTTP status 302" in enhance(_job(url), MODEL).notices[0]
    assert got == []


@pytest.mark.parametrize(
    "url",
    ["localhost:8000/v1", "file:///etc/passwd", "ftp://h/v1", "http://", "http://h:x/v1", "http://h/a b",
     "http://h/\n", "http://hö/v1", "https://[::1", "x", ""],
)  # fmt: skip
def test_addresses_that_are_none(url):
    with pytest.raises(InputError, match=r"^enhance-prompt: must be an address such as "):
        parse({"enhance_prompt": url})


def test_mistakes(command):
    for given, message in (
        (["--enhance-prompt", "http://u:p@h/v1"], "enhance-prompt: .*a key belongs into EA_PROMPT_API_KEY"),
        (["--enhance-prompt", "http://h/v1"], "enhance-prompt: needs --enhance-model"),
        (["--enhance-model", "x"], "enhance-model: needs --enhance-prompt"),
    ):
        code, _, err = command("generate", "x", *given)
        assert code == 2
        assert re.match(f"ea-app: error: {message}", err), err


def test_replay_makes_the_same_frames_without_the_server(command, tmp_path):
    with _server(_completion("a red circle")) as (url, got):
        given = ["--enhance-prompt", url, "--enhance-model", "writer", "--seed", "3"]
        code, _, err = command("generate", "circle", *given, "--output", "out.mp4")
    assert code == 0
    assert err.splitlines()[:2] == [
        "asking writer for a better prompt", "prompt, rewritten by writer: a red circle",
    ]  # fmt: skip
    assert len(got) == 1
    record = read_record(tmp_path / "out.mp4")
    assert record["request"]["prompt"] == "a red circle"
    assert record["enhancement"] == {
        "original": "circle", "server": f"{url}/chat/completions", "model": "writer",
        "enhanced": "a red circle",
    }  # fmt: skip

    code, out, _ = command("replay", "out.mp4")
    assert (code, out.splitlines()[-1]) == (0, "identical frames")
    assert read_record(tmp_path / "out-replay.mp4")["enhancement"] == record["enhancement"]
    assert job_from_record(MODEL, record, {}).prompt_server is None

    code, _, err = command("generate", "circle", *given, "--output", "away.mp4")
    assert code == 0
    assert "your own words are used" in err
    assert read_record(tmp_path / "away.mp4")["request"]["prompt"] == "circle"


def test_a_broken_enhancement_in_a_record_is_refused(tmp_path):
    parts = {
        "request": {"prompt": "x", "width": 16, "height": 16, "num_frames": 1, "seed": 1},
        "model": {"name": "m", "fingerprint": "f"},
        "machine": {"device": "cpu", "dtype": "float32", "threads": 1},
        "frames": {"xxh3": "0"},
        "inputs": {},
    }
    path = tmp_path / "a.mp4.json"
    path.write_text(json.dumps({"format": "ea-record/1", "enhancement": 3, **parts}))
    with pytest.raises(InputError, match=r"^file: .* has a broken enhancement"):
        read_record(path)
