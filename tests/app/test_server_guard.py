"""Who may ask, from where, how much may be sent, and what a server refuses to be."""

from __future__ import annotations

import asyncio
import time

import pytest

from ea_app.options import InputError
from ea_app.server import Catalogue, ServerSettings
from ea_app.web.access import Lockout, is_local

TOKEN = "correct-horse-battery"
GOOD = {"Authorization": f"Bearer {TOKEN}"}


def status(answer):
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    return answer.status_code


def test_a_token_is_needed_for_all_but_health(open_server):
    client = open_server(token=TOKEN)
    assert client.get("/health").json() == {"status": "ok"}
    for path in ("/v1/videos", "/v1/models", "/metrics", "/ready", "/docs", "/openapi.json", "/nothing"):
        answer = client.get(path)
        assert status(answer) == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert status(client.post("/easyanimate/infer_forward", json={"prompt_textbox": "a"})) == 401
    assert client.get("/v1/videos", headers=GOOD).status_code == 200
    assert client.get("/v1/videos", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
    for wrong in (
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer ",
        "Bearer \xff",
    ):
        sent = {"Authorization": wrong.encode("latin-1")}
        assert status(client.get("/v1/videos", headers=sent)) == 401


def test_ten_wrong_tokens_lock_an_address_out(open_server):
    client = open_server(token=TOKEN, lock_seconds=1.0)
    codes = [
        status(client.get("/v1/models", headers={"Authorization": f"Bearer {n:020d}"})) for n in range(12)
    ]
    assert codes == [401] * 10 + [429] * 2
    answer = client.get("/v1/models", headers=GOOD)
    assert status(answer) == 429  # even with the right one: guessing has to cost time
    assert int(answer.headers["retry-after"]) >= 1
    assert client.get("/health").status_code == 200
    time.sleep(1.1)
    assert client.get("/v1/models", headers=GOOD).status_code == 200


def test_a_right_token_forgets_wrong_ones():
    lockout = Lockout(3, 60)
    for _ in range(2):
        lockout.failed("10.0.0.1")
    lockout.succeeded("10.0.0.1")
    lockout.failed("10.0.0.1")
    assert lockout.remaining("10.0.0.1") == 0
    for number in range(3):
        lockout.failed(f"2001:db8::{number}")
    assert lockout.remaining("2001:db8::ffff") > 0  # one customer has all of them
    assert lockout.remaining("2001:db8:0:1::1") == 0
    for number in range(20_000):
        lockout.failed(f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}")
    assert len(lockout._seen) == 10_000


def test_tokens_are_compared_in_constant_time(open_server, monkeypatch):
    compared = []

    def compare(one, other):
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr("ea_app.web.access.hmac.compare_digest", compare)
    client = open_server(token=TOKEN)
    client.get("/v1/models", headers=GOOD)
    client.get("/v1/models", headers={"Authorization": "Bearer x"})
    assert compared == [(32, 32), (32, 32)]


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "10.0.0.1", "", "localhost@evil.example:1"]
)
def test_without_a_token_only_this_machine_is_answered_to(client, host):
    assert status(client.get("/v1/models", headers={"Host": host})) == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000"])
def test_names_of_this_machine(client, host):
    assert client.get("/v1/models", headers={"Host": host}).status_code == 200


def test_pages_of_other_sites_are_not_answered(client, open_server):
    for origin in ("https://evil.example", "null", "http://localhost:9999", "file://"):
        answer = client.post("/easyanimate/infer_forward", json={}, headers={"Origin": origin})
        assert status(answer) == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert client.get("/v1/models", headers={"Origin": "http://localhost"}).status_code == 200
    answer = client.options(
        "/v1/videos", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    assert status(answer) == 403


def test_headers_of_answers(client):
    for path in ("/health", "/docs", "/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_large_requests_are_refused_before_they_are_read(open_server):
    client = open_server(max_body=1000)
    answer = client.post("/v1/videos", content=b"x" * 1001, headers={"Content-Type": "application/json"})
    assert status(answer) == 413
    assert answer.json()["error"]["message"] == "the request is too large; allowed: at most 1000 bytes"
    read = []

    def endless():
        for _ in range(10_000):
            read.append(1)
            yield b"x" * 500

    for kind in ("application/json", "multipart/form-data; boundary=a"):
        answer = client.post("/v1/videos", content=endless(), headers={"Content-Type": kind})
        assert status(answer) == 413, answer.text
    for length in ("-1", "x", "1e9", "9" * 30, "٣"):
        sent = {"Content-Type": "application/json", "Content-Length": length.encode()}
        assert status(client.post("/v1/videos", content=b"{}", headers=sent)) == 400


def test_slow_requests_are_refused(open_server):
    client = open_server(body_seconds=0.2)
    answers = []

    async def receive():
        await asyncio.sleep(5)
        return {"type": "http.request", "body": b"", "more_body": True}

    async def send(message):
        answers.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/videos",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "scheme": "http",
        "root_path": "",
    }
    began = time.monotonic()
    asyncio.run(client.app(scope, receive, send))
    assert time.monotonic() - began < 3
    assert answers[0]["status"] == 408


@pytest.mark.parametrize("kind", ["", "text/plain", "application/xml"])
def test_other_kinds_of_bodies(client, kind):
    answer = client.post("/v1/videos", content=b'{"prompt": "a"}', headers={"Content-Type": kind})
    assert status(answer) == 415


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com"])
def test_an_open_door_is_refused(host):
    with pytest.raises(InputError, match=r"^token: is missing: others can reach "):
        ServerSettings(host=host)
    assert ServerSettings(host=host, token=TOKEN).host == host
    assert not is_local(host)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"token": "short"}, "token"), ({"token": ""}, "token"), ({"token": "ü" * 20}, "token"),
        ({"token": "a" * 10 + " " + "b" * 10}, "token"), ({"token": "a" * 20 + "\n"}, "token"),
        ({"port": -1}, "port"), ({"port": 65536}, "port"), ({"max_body": 0}, "max-body"),
        ({"max_pixels": 0}, "max-pixels"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(changes, field):
    with pytest.raises(InputError) as caught:
        ServerSettings(**changes)
    assert caught.value.field == field
    assert str(changes.get("token") or "none") not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_places_that_only_this_machine_reaches(host):
    assert ServerSettings(host=host).host == host
    assert is_local(host)


def test_catalogues(tiny_model, tmp_path):
    both = Catalogue.of(["default", f"small={tiny_model}"])
    assert (list(both.models), both.default) == (["default", "small"], "default")
    assert both.id_of_model(str(tiny_model)) == "small"
    with pytest.raises(
        InputError, match=r"^model: two have the id 'tiny'; give one another, such as tiny-2=PATH$"
    ):
        Catalogue.of([str(tiny_model), f"tiny={tiny_model}"])
    with pytest.raises(InputError, match=r"^model: .*give it an id of letters"):
        Catalogue.of([f"my model={tiny_model}"])
    with pytest.raises(InputError, match=r"^model: "):
        Catalogue.of([f"a={tmp_path}"])
    with pytest.raises(InputError, match=r"^lora: .* does not exist$"):
        Catalogue.of([], [str(tmp_path / "none.safetensors")])
