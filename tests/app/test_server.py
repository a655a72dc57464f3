"""The REST server over workers that make nothing: videos, models, metrics, pages."""

from __future__ import annotations

import json
import re
import threading
import time

import pytest

from ea_app.options import OPTIONS
from ea_app.server.schema import OPERATORS, UPLOADS, VideoRequest

NO_ID = "0" * 24


def create(client, prompt="a red circle", **fields):
    answer = client.post("/v1/videos", json={"prompt": prompt, **fields})
    assert answer.status_code == 202, answer.text
    return answer.json()


def finished(client, video_id, timeout=30.0):
    end = time.monotonic() + timeout
    while (video := client.get(f"/v1/videos/{video_id}").json())["status"] in ("queued", "in_progress"):
        assert time.monotonic() < end, video
        time.sleep(0.01)
    return video


def refused(answer, status, param=None):
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param), answer.text
    assert set(error) == {"message", "type", "param", "code"}
    assert "\n" not in error["message"]
    return error["message"]


def events_of(client, video_id, query=""):
    answer = client.get(f"/v1/videos/{video_id}/events{query}")
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.strip().split("\n\n"):
        if not block.startswith(":"):
            lines = dict(line.split(": ", 1) for line in block.split("\n"))
            found.append((lines["event"], int(lines["id"]), json.loads(lines["data"])))
    return found


@pytest.mark.parametrize(
    ("kind", "frames", "content_type"),
    [
        ("webm", 5, "video/webm"),
        ("gif", 5, "image/gif"),
        ("webp", 5, "image/webp"),
        ("png", 5, "application/zip"),
        ("png", 1, "image/png"),
    ],
)
def test_the_kind_of_file_may_be_chosen(kind, frames, content_type, client):
    made = finished(client, create(client, frames=frames, format=kind)["id"])
    assert made["options"]["format"] == kind
    content = client.get(f"/v1/videos/{made['id']}/content")
    assert content.headers["content-type"] == made["content_type"] == content_type
    refused(client.post("/v1/videos", json={"prompt": "x", "format": "avi"}), 422, "format")


def test_timesteps_and_steps_that_are_left_out(client):
    made = create(client, timesteps=[999, 998.5, 997], teacache=1, teacache_curve="identity")
    assert made["options"]["timesteps"] == [999, 998.5, 997]
    assert made["options"]["teacache"] == 1
    assert finished(client, made["id"])["options"] == made["options"]
    for field, value in (("timesteps", [3, 999]), ("timesteps", {}), ("teacache", 2), ("teacache_start", 0)):
        refused(client.post("/v1/videos", json={"prompt": "x", field: value}), 422, field)
    for wrong, field in (
        ({"timesteps": [9], "steps": 3}, "timesteps"),
        ({"teacache_start": 2}, "teacache_start"),
    ):
        refused(client.post("/v1/videos", json={"prompt": "x", **wrong}), 422, field)


def test_from_prompt_to_file(client, media):
    answer = client.post(
        "/v1/videos", json={"prompt": "a red circle", "seed": 7, "size": "32x64", "steps": 3}
    )
    made = answer.json()
    assert answer.headers["location"] == f"/v1/videos/{made['id']}"
    assert made["object"] == "video"
    assert made["model"] == "tiny"
    assert (made["size"], made["seed"], made["prompt"]) == ("32x64", 7, "a red circle")
    done = finished(client, made["id"])
    assert (done["status"], done["state"], done["progress"]) == ("completed", "done", 100)
    assert done["completed_at"] >= done["created_at"]
    assert done["seconds"] == "0.625"
    assert done["options"] == {"steps": 3}
    content = client.get(f"/v1/videos/{made['id']}/content")
    assert content.headers["content-type"] == "video/mp4"
    assert content.content == (media / "clip.mp4").read_bytes() + b"a red circle"
    assert made["id"] in content.headers["content-disposition"]
    part = client.get(f"/v1/videos/{made['id']}/content", headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    for variant in ("thumbnail", "preview"):
        picture = client.get(f"/v1/videos/{made['id']}/content?variant={variant}")
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content.startswith(b"\xff\xd8\xff")
    record = client.get(f"/v1/videos/{made['id']}/content?variant=record")
    assert record.json()["request"]["prompt"] == "a red circle"
    refused(client.get(f"/v1/videos/{made['id']}/content?variant=spritesheet"), 422, "variant")


def test_nothing_that_goes_out_names_a_folder(client, tmp_path, media):
    picture = (media / "square.png").read_bytes()
    files = {"image": ("../../a.png", picture)}
    made = client.post("/v1/videos", data={"prompt": "fail"}, files=files).json()
    text = json.dumps([made, finished(client, made["id"]), events_of(client, made["id"])])
    assert str(tmp_path) not in text
    assert "/" not in json.dumps(finished(client, made["id"])["error"])
    assert "uploads" not in text


def test_events(client):
    made = create(client, "slow", steps=60)
    seen = events_of(client, made["id"])
    assert [number for _, number, _ in seen] == sorted({number for _, number, _ in seen})
    assert [name for name, _, _ in seen[:-1]] == ["progress"] * (len(seen) - 1)
    name, _, last = seen[-1]
    assert (name, last["status"], last["progress"]) == ("completed", "completed", 100)
    steps = [data for _, _, data in seen if data["stage"] == "denoise"]
    assert all(data["total"] == 60 for data in steps)
    assert any(data["remaining"] == 1.5 for data in steps)
    assert any(data.get("preview", "").startswith("data:image/jpeg;base64,") for data in steps)
    assert [name for name, _, _ in events_of(client, made["id"])] == ["completed"]  # of one that is over
    silent = create(client, "slow", steps=60)
    assert not any("preview" in data for _, _, data in events_of(client, silent["id"], "?previews=false"))
    refused(client.get(f"/v1/videos/{NO_ID}/events"), 404)


def test_cancel_resume_delete(client):
    running, waiting = create(client, "slow", steps=1000), create(client, "slow too", steps=1000)
    refused(client.get(f"/v1/videos/{running['id']}/content"), 409)
    assert client.get(f"/v1/videos/{waiting['id']}").json()["ahead"] == 0
    assert client.post(f"/v1/videos/{waiting['id']}/cancel").status_code == 202
    until = time.monotonic() + 20
    while client.get(f"/v1/videos/{running['id']}").json()["state"] != "running":
        assert time.monotonic() < until
    assert "cancel it first" in refused(client.delete(f"/v1/videos/{running['id']}"), 409)
    refused(client.post(f"/v1/videos/{running['id']}/resume"), 409)
    began = time.monotonic()
    client.post(f"/v1/videos/{running['id']}/cancel")
    assert finished(client, running["id"])["status"] == "cancelled"
    assert time.monotonic() - began < 2
    assert finished(client, waiting["id"])["status"] == "cancelled"
    assert client.post(f"/v1/videos/{waiting['id']}/cancel").json()["status"] == "cancelled"
    assert client.post(f"/v1/videos/{waiting['id']}/resume").status_code == 202
    client.post(f"/v1/videos/{waiting['id']}/cancel")
    finished(client, waiting["id"])
    assert client.delete(f"/v1/videos/{running['id']}").json() == {
        "id": running["id"], "object": "video.deleted", "deleted": True,
    }  # fmt: skip
    for call in (client.get, client.delete):
        assert refused(call(f"/v1/videos/{running['id']}"), 404) == "there is no such video"


def test_a_failure_is_told(client):
    video = finished(client, create(client, "fail")["id"])
    assert video["status"] == "failed"
    assert video["error"]["code"] == "mistake"
    assert video["error"]["param"] == "sampler"
    assert video["error"]["message"].endswith("must be another, see the server's folder")


def test_pages_of_the_list(client):
    ids = [create(client, str(number))["id"] for number in range(7)][::-1]
    first = client.get("/v1/videos?limit=3").json()
    assert ([video["id"] for video in first["data"]], first["has_more"]) == (ids[:3], True)
    second = client.get(f"/v1/videos?limit=5&after={first['last_id']}").json()
    assert ([video["id"] for video in second["data"]], second["has_more"]) == (ids[3:], False)
    oldest = client.get("/v1/videos?order=asc&limit=1").json()
    assert oldest["first_id"] == ids[-1]
    refused(client.get("/v1/videos?limit=0"), 422, "limit")
    refused(client.get("/v1/videos?limit=many"), 422, "limit")
    refused(client.get("/v1/videos?order=up"), 422, "order")
    refused(client.get(f"/v1/videos?after={NO_ID}"), 404, "after")


def test_history_survives_a_restart(open_server, fake_workers, tmp_path):
    first = open_server()
    done = finished(first, create(first, "one")["id"])
    running = create(first, "slow", steps=150)
    app = first.app
    first.__exit__()
    app.state.parts.jobs.close()
    second = open_server()
    assert second.get(f"/v1/videos/{done['id']}").json() == done
    assert second.get(f"/v1/videos/{done['id']}/content").status_code == 200
    assert finished(second, running["id"])["status"] == "completed"  # it went on by itself


def test_a_full_queue_and_what_to_do(open_server):
    client = open_server(queue_limit=2)
    made = [create(client, "slow", steps=1000)]
    while client.get(f"/v1/videos/{made[0]['id']}").json()["state"] == "queued":
        time.sleep(0.01)
    made += [create(client, "slow", steps=1000) for _ in range(2)]
    answer = client.post("/v1/videos", json={"prompt": "one too many"})
    assert refused(answer, 429) == "2 jobs wait already; try again later"
    assert int(answer.headers["retry-after"]) > 0
    for video in made:
        client.post(f"/v1/videos/{video['id']}/cancel")


def test_the_same_key_is_the_same_video(client):
    def send(key, **fields):
        return client.post("/v1/videos", json={"prompt": "a", **fields}, headers={"Idempotency-Key": key})

    first = send("one")
    assert send("one").json()["id"] == first.json()["id"]
    assert send("two").json()["id"] != first.json()["id"]
    refused(send("one", seed=3), 409)
    refused(send(""), 400)
    refused(send("x" * 256), 400)
    finished(client, first.json()["id"])
    client.delete(f"/v1/videos/{first.json()['id']}")
    assert send("one").json()["id"] != first.json()["id"]


def test_length_in_seconds(client):
    assert create(client, seconds="1", fps=8)["frames"] == 8
    assert create(client, seconds=0.6)["frames"] == 5
    for wrong in ("0", "-1", "nan", "x", True, [1], 10**400):
        refused(client.post("/v1/videos", json={"prompt": "a", "seconds": wrong}), 422, "seconds")
    refused(client.post("/v1/videos", json={"prompt": "a", "seconds": 1, "frames": 9}), 422, "seconds")


def test_pictures_are_pictures(client):
    made = create(client, frames=1)
    finished(client, made["id"])
    assert client.get(f"/v1/videos/{made['id']}/content").headers["content-type"] == "image/png"


def test_models(client):
    listed = client.get("/v1/models").json()
    assert [(entry["id"], entry["default"]) for entry in listed["data"]] == [("tiny", True)]
    one = client.get("/v1/models/tiny").json()
    assert one == listed["data"][0]
    assert (one["size"], one["frames"], one["steps"]) == ("32x32", 5, 2)
    assert refused(client.get("/v1/models/other"), 404, "model_id") == "must be one of tiny; got 'other'"
    message = refused(client.post("/v1/videos", json={"prompt": "a", "model": "other"}), 422, "model")
    assert message == "model: must be one of tiny; got 'other'"


def test_loras_by_id(open_server, tiny_model, tmp_path, monkeypatch):
    from ea_app.server import Catalogue

    file = tmp_path / "style one.safetensors"
    file.write_bytes(b"no LoRA, which the worker would see")
    entries = Catalogue.of([f"small={tiny_model}"], [f"style={file}"])
    client = open_server(entries=entries)
    assert client.get("/v1/models").json()["loras"] == [{"id": "style", "object": "lora"}]
    for given in (
        "style:0.5",
        ["style:0.5"],
        [{"id": "style", "weight": 0.5}],
        {"id": "style", "weight": 0.5},
    ):
        made = create(client, lora=given)
        assert made["options"]["lora"] == ["style:0.5"]
        assert made["model"] == "small"
        assert str(tmp_path) not in json.dumps(made)
    for wrong in ("other", str(file), "style:x", "style:nan", "style:101", 3, [{"id": "style", "w": 1}]):
        refused(client.post("/v1/videos", json={"prompt": "a", "lora": wrong}), 422, "lora")


def test_health_readiness_and_numbers(client):
    assert client.get("/health").json() == {"status": "ok"}
    until = time.monotonic() + 20
    while (answer := client.get("/ready")).status_code != 200:
        assert time.monotonic() < until
    assert answer.json() == {"status": "ok", "workers": 1, "ready": 1}
    finished(client, create(client)["id"])
    finished(client, create(client, "fail")["id"])
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    numbers = dict(re.findall(r"^(ea_\S+) (\S+)$", answer.text, re.MULTILINE))
    assert numbers['ea_jobs{state="done"}'] == "1.0"
    assert numbers['ea_jobs_failed{reason="mistake"}'] == "1.0"
    assert (numbers["ea_workers"], numbers["ea_workers_ready"], numbers["ea_job_seconds"]) == (
        "1.0",
        "1.0",
        "0.5",
    )


def test_fields_are_the_table_of_options(client):
    known = {entry.key for entry in OPTIONS} - OPERATORS
    assert set(VideoRequest.model_fields) == known | {"prompt", "seconds", "input_reference"}
    assert set(UPLOADS) <= known
    schema = client.get("/openapi.json").json()
    body = schema["paths"]["/v1/videos"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["steps"]["maximum"] == 1000
    page = client.get("/docs").text
    assert "<code>steps</code>" in page
    assert "denoising steps" in page
    assert "<script" not in page
    assert "https://" not in page


@pytest.mark.parametrize("key", sorted(OPERATORS))
def test_what_is_the_operators(client, key):
    message = refused(client.post("/v1/videos", json={"prompt": "a", key: "x"}), 422, key)
    assert message.endswith("is for the operator of this server to say; leave it out")


@pytest.mark.parametrize(("clients", "each"), [(8, 5), pytest.param(8, 25, marks=pytest.mark.slow)])
def test_every_client_gets_its_own_answer(client, fake_workers, media, clients, each):
    clip = (media / "clip.mp4").read_bytes()
    wrong = []

    def work(number):
        for turn in range(each):
            prompt = f"client {number} turn {turn}"
            video = finished(client, create(client, prompt)["id"], 120)
            content = client.get(f"/v1/videos/{video['id']}/content").content
            if (video["status"], video["prompt"], content) != ("completed", prompt, clip + prompt.encode()):
                wrong.append((prompt, video))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert fake_workers.most_running == 1
    listed = client.get("/v1/videos?order=asc&limit=100").json()["data"]
    assert [video["id"] for video in listed] == fake_workers.order[: len(listed)]


def test_waiting_clients_are_bounded(open_server):
    client = open_server(max_streams=1)
    made = create(client, "slow", steps=1000)
    client.app.state.parts.watching.count += 1
    answer = client.get(f"/v1/videos/{made['id']}/events")
    refused(answer, 503)
    assert "retry-after" in answer.headers
    client.app.state.parts.watching.count -= 1
    client.post(f"/v1/videos/{made['id']}/cancel")
    assert events_of(client, made["id"])[-1][0] == "cancelled"
    assert client.app.state.parts.watching.count == 0


def test_other_methods_and_places(client):
    assert client.get("/", follow_redirects=False).headers["location"] == "/docs"
    refused(client.get("/nothing"), 404)
    refused(client.put("/v1/videos"), 405)
    refused(client.get("/v1/videos/"), 404)
