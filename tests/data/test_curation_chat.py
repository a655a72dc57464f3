"""Captions by a server: retried where that may help, then listed, and never a wrong one."""

import base64
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from curation_corpus import FPS, pan
from curation_workers import rows_of
from PIL import Image

from ea_data.curation.caption_text import cleaned
from ea_data.curation.chat import KEY_VARIABLE
from ea_data.curation.curate import Engines, curate
from ea_data.curation.plan import plan_of
from ea_data.curation.registry import open_stage
from ea_data.curation.report import table_lines
from ea_data.curation.stage import Item
from ea_data.media import write_video

pytest.importorskip("httpx")


def completion(text, reason="stop", **more):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return {"choices": [choice], "usage": {"completion_tokens": 7}, **more}


class Server(ThreadingHTTPServer):
    """Does what its list says, one entry for each question; then it answers well."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.asked, self.good = [], [], completion("A boat sails.")
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append((self.path, dict(self.headers), body))
            act = self.server.script.pop(0) if self.server.script else self.server.good
        if act == "hang":
            time.sleep(1.5)
        elif act == "close":
            self.connection.close()
        elif isinstance(act, tuple):
            self._send(*act)
        elif act == "half":
            whole = json.dumps(self.server.good).encode()
            self._send(200, whole[: len(whole) // 2])
        else:
            self._send(200, json.dumps(act).encode())

    def _send(self, status, content, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", pan(1, 12, height=64, width=96), fps=FPS)


def opened(server, name="caption-server", **options):
    stage = open_stage(name, {"url": server.url, "timeout": 0.5, "pause": 0.0, "attempts": 3, **options})
    stage.open()
    return stage


PASSING = {
    "busy": (429, b"", [("Retry-After", "0")]),
    "broken": (503, b"down"),
    "late": "hang",
    "closed": "close",
    "half": "half",
    "garbage": (200, b"\xff\x00<html>oops</html>"),
    "no choices": {"error": {"message": "loading"}},
    "two choices": {"choices": [*completion("a")["choices"]] * 2},
    "null": completion(None),
    "empty": completion("  "),
    "cut off": completion("A boat sai", "length"),
    "endless": (200, b"x" * (1 << 21)),
    "deep": (200, b"[" * 100_000),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_asked_again(server, clip, name):
    server.script = [PASSING[name]]
    found = opened(server).measure(Item(path=clip, kind="video"))
    assert found == {"caption": "A boat sails.", "tokens": 7}
    assert len(server.asked) == 2


@pytest.mark.parametrize("name", PASSING)
def test_what_does_not_pass_is_an_error_of_one_line(server, clip, name):
    server.script = [PASSING[name]] * 2
    with pytest.raises(ValueError, match=r"\(2 attempts\)") as error:
        opened(server, attempts=2).measure(Item(path=clip, kind="video"))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_a_refusal_is_not_asked_again(server, clip, status):
    server.script = [(status, b"no such model", [("Location", "http://127.0.0.1:9/")])]
    with pytest.raises(ValueError, match=f"the server refused .status {status}.: 'no such model'"):
        opened(server).measure(Item(path=clip, kind="video"))
    assert len(server.asked) == 1


def test_the_question(server, clip, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    opened(server, prompt="zh", model="eyes", frames=3, side=48).measure(Item(path=clip, kind="video"))
    ((path, headers, body),) = server.asked
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("eyes", 0.0, 512)
    parts = body["messages"][0]["content"]
    assert [part["text"] for part in parts if part["type"] == "text"][:3] == [
        "Frame1: ",
        "Frame2: ",
        "Frame3: ",
    ]
    assert "视频" in parts[-1]["text"]
    pictures = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    data = base64.b64decode(pictures[0].removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(data)).size == (48, 32)


def test_a_given_text_is_kept_on_request(server, clip):
    item = Item(path=clip, kind="video", columns={"text": "given"})
    assert opened(server, keep_given=True).measure(item)["caption"] == "given"
    assert server.asked == []
    assert opened(server).measure(item)["caption"] == "A boat sails."


def test_one_bad_row_costs_no_other(server, clip):
    server.script = [(400, b"too large")]
    items = [Item(path=clip, kind="video")] * 3
    found = opened(server, concurrency=1).measure_all(items)
    assert [isinstance(each, ValueError) for each in found] == [True, False, False]


def test_rewriting(server):
    server.script = [
        completion(text) for text in ("no json", '{"other": "x"}', '{"rewritten description": "')
    ]
    server.good = completion('Sure: {"rewritten description": "A boat\nsails {far}."}')
    stage = opened(server, "rewrite", attempts=4)
    assert (
        stage.measure(Item(path=None, kind="text", columns={"caption": "boat"}))["caption"]
        == "A boat sails {far}."
    )
    assert len(server.asked) == 4
    template = "Write it again as one clear paragraph"
    server.good = completion(json.dumps({"rewritten description": template}))
    with pytest.raises(ValueError, match="cannot be used"):
        stage.measure(Item(path=None, kind="text", columns={"caption": "boat"}))


def test_a_run_lists_what_got_no_caption_and_asks_only_for_that_again(server, clip, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        write_video(tmp_path / "in" / f"{number}.mp4", pan(number, 12, height=64, width=96), fps=FPS)
    options = {"url": server.url, "attempts": 1, "pause": 0.0, "concurrency": 1}
    plan = plan_of("p", {"stages": [{"caption-server": options}, "clean"]})
    server.script = [completion("One."), (500, b""), completion("Three.")]
    report = curate(plan, tmp_path / "in", tmp_path / "out", engines=Engines(name="inline"), samples=0)
    assert [row["text"] for row in rows_of(tmp_path / "out" / "metadata.jsonl")] == ["One.", "Three."]
    (row,) = rows_of(tmp_path / "out" / "excluded.jsonl")
    assert (row["file"], row["failed"]) == ("1.mp4", "the server is busy or broken (status 500) (1 attempts)")
    assert report.counts[1].tokens == 14
    (line,) = [line for line in table_lines(report) if line.startswith("caption-server: ")]
    assert line.startswith("caption-server: 14 tokens in 2 answers, ")
    told = json.loads((tmp_path / "out" / "report" / "report.json").read_text())["stages"][1]
    assert told["tokens_per_second"] == pytest.approx(14 / max(told["seconds"], 1e-3), rel=0.01, abs=0.1)
    assert line in (tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8")
    server.good = completion("Two.")
    # Another address is the same model.
    options["timeout"] = 60.0
    plan = plan_of("p", {"stages": [{"caption-server": options}, "clean"]})
    curate(plan, tmp_path / "in", tmp_path / "out", engines=Engines(name="inline"), samples=0)
    assert [row["text"] for row in rows_of(tmp_path / "out" / "metadata.jsonl")] == ["One.", "Two.", "Three."]
    assert len(server.asked) == 4


def test_a_run_passes_over_every_way_to_fail_and_writes_no_wrong_caption(server, tmp_path):
    (tmp_path / "in").mkdir()
    ways = ("busy", "late", "half", "garbage", "cut off", "closed")
    for number, _ in enumerate((*ways, "good")):
        write_video(tmp_path / "in" / f"{number}.mp4", pan(number, 4, height=64, width=96), fps=FPS)
    options = {"url": server.url, "attempts": 2, "pause": 0.0, "timeout": 0.5, "concurrency": 1, "frames": 1}
    plan = plan_of("p", {"stages": [{"caption-server": {**options, "model": "eyes"}}, "clean"]})
    server.script = [PASSING[way] for way in ways for _ in range(2)]
    curate(plan, tmp_path / "in", tmp_path / "out", engines=Engines(name="inline"), samples=0)
    (kept,) = rows_of(tmp_path / "out" / "metadata.jsonl")
    assert (kept["source"], kept["text"], kept["models"]) == (
        "6.mp4",
        "A boat sails.",
        "caption-server: eyes",
    )
    failed = rows_of(tmp_path / "out" / "excluded.jsonl")
    assert [row["file"] for row in failed] == [f"{number}.mp4" for number in range(6)]
    assert all(row["failed"].endswith("(2 attempts)") for row in failed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "file:///etc/passwd"}, "url is"),
        ({"url": ""}, "url is ''"),
        ({"prompt": "nowhere.txt"}, "nowhere.txt"),
        ({"attempts": 0}, "attempts is 0"),
        ({"frames": 0}, "frames is 0"),
        ({"modell": "x"}, "unknown key 'modell'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        open_stage("caption-server", options).open()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('"A cat sits."', "A cat sits."),
        ("Sure! Here is a description of the video:\n\nThe video shows a **cat** .", "A cat."),
        ("<think>hmm</think> A &amp; B", "A & B"),
        ("A cat (https://example.com/a?b=c) at home, mail me@example.com", "A cat at home, mail"),
        ("cafÃ© <b>bold</b>", "café bold"),
        ("画面中有一只猫。", "画面中有一只猫。"),
        ("", ""),
    ],
)
def test_cleaning(raw, expected):
    assert cleaned(raw) == expected
