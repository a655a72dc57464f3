"""Who may use the studio, and which files of jobs it hands out."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from ea_app.jobs import JobView, NoSuchJobError, State
from ea_app.options import InputError
from ea_app.ui.access import MAX_REQUEST, Access
from ea_app.ui.media import add_media
from ea_app.ui.settings import UiSettings
from ea_app.web.access import FAILURES, LOCK_SECONDS, Door, Lockout

TOKEN = "a long token"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def _client(token, clock=None, base="http://localhost"):
    app = FastAPI()

    @app.get("/")
    @app.get("/gradio_api/upload")
    def inside():
        return {"inside": True}

    app.add_middleware(Access, door=Door(token, Lockout(clock=clock or Clock())))
    return TestClient(app, base_url=base, follow_redirects=False)


def test_without_a_token_only_this_machine_is_answered():
    assert _client(None).get("/").status_code == 200
    assert _client(None, base="http://127.0.0.1:7860").get("/").status_code == 200
    for name in ("evil.example", "localhost.evil.example", ""):
        answer = _client(None).get("/", headers={"Host": name})
        assert answer.status_code == 403
        assert "inside" not in answer.text


def test_pages_of_other_sites_are_refused():
    for token, headers in ((None, {}), (TOKEN, {"Authorization": f"Bearer {TOKEN}"})):
        client = _client(token)
        for origin in ("http://evil.example", "null", "http://localhost:1", "https://localhost.evil"):
            answer = client.post("/", headers={**headers, "Origin": origin})
            assert answer.status_code == 403
        assert client.get("/", headers={**headers, "Origin": "http://localhost"}).status_code == 200


def test_a_token_is_asked_for_everywhere():
    client = _client(TOKEN)
    assert client.get("/").status_code == 401
    assert "<form" in client.get("/").text
    for path in ("/gradio_api/upload", "/none"):
        assert client.get(path).status_code == 401
    assert client.post("/").status_code == 401
    assert client.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/", headers={"Cookie": "ea_studio=wrong"}).status_code == 401
    assert client.get("/", headers={"Cookie": "\x7f;;==;"}).status_code == 401


def test_what_is_sent_is_bounded():
    client = _client(None)
    assert client.post("/", content=b"x" * (MAX_REQUEST + 1)).status_code == 413
    app = FastAPI()
    app.add_middleware(Access, door=Door(None), upload_bytes=10, has_room=lambda: False)
    client = TestClient(app, base_url="http://localhost")
    assert client.post("/gradio_api/upload", content=b"x" * 11).status_code == 413
    assert client.post("/gradio_api/upload", content=b"x").status_code == 507
    assert client.get("/none").status_code == 404


def test_a_cookie_tells_nothing_of_the_token_and_wrong_ones_do_not_lock_out():
    client = _client(TOKEN)
    answer = client.post("/login", data={"token": TOKEN})
    assert TOKEN.split()[-1] not in answer.headers["set-cookie"]
    fresh = _client(TOKEN)
    for number in range(2 * FAILURES):  # of a token of yesterday, by a browser that knows no better
        assert fresh.get("/", headers={"Cookie": f"ea_studio={number}"}).status_code == 401
    assert fresh.post("/login", data={"token": TOKEN}).status_code == 303


def test_signing_in_gives_a_cookie_that_scripts_cannot_read():
    client = _client(TOKEN)
    answer = client.post("/login", data={"token": TOKEN})
    assert answer.status_code == 303
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert client.get("/").json() == {"inside": True}


@pytest.mark.parametrize("body", [b"", b"token=", b"token=%ff%fe", b"x" * 100_000, b"token=" + b"a" * 10_000])
def test_other_forms_are_wrong_tokens(body):
    assert _client(TOKEN).post("/login", content=body).status_code == 401


def test_after_ten_wrong_tokens_nobody_gets_in_for_a_while():
    clock = Clock()
    client = _client(TOKEN, clock)
    for _ in range(FAILURES):
        assert client.post("/login", data={"token": "wrong"}).status_code == 401
    assert client.post("/login", data={"token": TOKEN}).status_code == 429
    for _ in range(FAILURES):  # the lock is for those who guess in headers too
        client.get("/", headers={"Authorization": "Bearer wrong"})
    assert client.get("/", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 429
    clock.now += LOCK_SECONDS + 1
    assert client.post("/login", data={"token": TOKEN}).status_code == 303


class Jobs:
    def __init__(self, view):
        self.view = view

    def get(self, job_id):
        if job_id != self.view.id:
            raise NoSuchJobError(job_id)
        return self.view


def _media(tmp_path, **changes):
    (tmp_path / "a.mp4").write_bytes(b"0123456789")
    view = JobView(id="a" * 24, **{"state": State.DONE, "output": tmp_path / "a.mp4", **changes})
    app = FastAPI()
    add_media(app, Jobs(view))
    return TestClient(app)


def test_a_result_is_handed_out_whole_and_in_parts(tmp_path):
    client = _media(tmp_path)
    answer = client.get(f"/media/{'a' * 24}/result")
    assert answer.content == b"0123456789"
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["x-content-type-options"] == "nosniff"
    part = client.get(f"/media/{'a' * 24}/result", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")


@pytest.mark.parametrize(
    "path",
    [
        "b/result", "../../etc/passwd/result", f"{'a' * 24}/latents", f"{'a' * 24}/..%2f..%2fetc%2fpasswd",
        f"{'a' * 24}/thumbnail", "%2e%2e/result",
    ],
)  # fmt: skip
def test_nothing_else_is(tmp_path, path):
    assert _media(tmp_path).get(f"/media/{path}").status_code == 404


def test_a_file_that_is_not_done_or_no_media_is_not_handed_out(tmp_path):
    assert _media(tmp_path, state=State.RUNNING).get(f"/media/{'a' * 24}/result").status_code == 404
    (tmp_path / "a.json").write_text("{}")
    client = _media(tmp_path, output=tmp_path / "a.json")
    assert client.get(f"/media/{'a' * 24}/result").status_code == 404


def test_where_it_listens_is_checked(tmp_path):
    with pytest.raises(InputError, match="token: is missing"):
        UiSettings(host="0.0.0.0")
    with pytest.raises(InputError, match="token: must be at least 16"):
        UiSettings(host="0.0.0.0", token="short")
    with pytest.raises(InputError, match="port"):
        UiSettings(port=70_000)
    with pytest.raises(InputError, match="models-dir"):
        UiSettings(models=tmp_path / "none")
    assert UiSettings(host="0.0.0.0", token="long-enough-to-be-taken").token
