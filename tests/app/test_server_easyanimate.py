"""EasyAnimate's three routes: its client's requests in its order, its fields, its answers."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time

import pytest

from ea_app.server import Catalogue

EXAMPLE = {
    "base_model_path": "none",
    "motion_module_path": "none",
    "lora_model_path": "none",
    "lora_alpha_slider": 0.55,
    "prompt_textbox": "A mountain at golden hour",
    "negative_prompt_textbox": "low quality",
    "sampler_dropdown": "Euler",
    "sample_step_slider": 30,
    "width_slider": 64,
    "height_slider": 32,
    "generation_method": "Video Generation",
    "length_slider": 9,
    "cfg_scale_slider": 6,
    "seed_textbox": 43,
}
"""The fields that the released example client sends, at a size of the tiny model."""


@pytest.fixture
def released(open_server, tiny_model):
    """A server whose model has the name of a release."""
    return open_server(
        entries=Catalogue.of([f"other={tiny_model}", f"EasyAnimateV5-12b-zh-InP={tiny_model}"])
    )


def post(client, route, **fields):
    """As the released client does: JSON without a content type."""
    return client.post(f"/easyanimate/{route}", content=json.dumps(fields))


def job_of(client):
    jobs = client.app.state.parts.jobs
    return jobs.recent(1)[0]


def failed(answer, status, param=None):
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert body["message"].startswith("Error. error information is ")
    assert body["message"].endswith(body["error"]["message"])
    assert param is None or body["error"]["param"] == param
    assert not {"save_sample_path", "base64_encoding"} & set(body)
    return body["error"]["message"]


def test_the_flow_of_the_released_client(released, media):
    assert post(released, "update_edition", edition="v5").json() == {"message": "Success"}
    path = "models/Diffusion_Transformer/EasyAnimateV5-12b-zh-InP"
    answer = post(released, "update_diffusion_transformer", diffusion_transformer_path=path)
    assert answer.json() == {"message": "Success"}
    answer = post(released, "infer_forward", **EXAMPLE)
    body = answer.json()
    assert (answer.status_code, set(body)) == (200, {"message", "save_sample_path", "base64_encoding"})
    assert body["message"] == "Success"
    video = base64.b64decode(body["base64_encoding"])
    assert video == (media / "clip.mp4").read_bytes() + EXAMPLE["prompt_textbox"].encode()
    job = job_of(released)
    assert body["save_sample_path"] == f"{job.id}.mp4"
    assert job.options == {
        "negative": "low quality", "sampler": "Euler", "steps": 30, "size": [64, 32], "frames": 9,
        "guidance": 6.0, "seed": 43, "model": job.model,
    }  # fmt: skip


def test_what_their_fields_mean(client, media):
    picture = base64.b64encode((media / "square.png").read_bytes()).decode()
    clip = base64.b64encode((media / "clip.mp4").read_bytes()).decode()
    mask = base64.b64encode((media / "mask.png").read_bytes()).decode()

    def options(**fields):
        answer = post(client, "infer_forward", **{**EXAMPLE, **fields})
        assert answer.status_code == 200, answer.text
        return job_of(client).options

    assert options(is_image=True)["frames"] == 1
    assert options(generation_method="Image Generation")["frames"] == 1
    assert job_of(client).output.suffix == ".png"
    assert options(generation_method=False)["frames"] == 9
    long = options(
        generation_method="Long Video Generation",
        length_slider=20,
        partial_video_length=9,
        overlap_video_length=4,
    )
    assert (long["frames"], long["window"], long["overlap"]) == (20, 9, 4)
    assert {"image", "last_image"} <= set(options(start_image=picture, end_image=picture))
    changed = options(validation_video=clip, validation_video_mask=mask, denoise_strength=0.5)
    assert (changed["strength"], {"video", "mask"} <= set(changed)) == (0.5, True)
    assert "control" in options(control_video=clip)
    for seed in ("", "-1", -1, None):
        assert options(seed_textbox=seed)["seed"] >= 0
    assert options(seed_textbox="44")["seed"] == 44
    assert "sampler" not in options(sampler_dropdown=None)


def test_names_are_ids(open_server, tiny_model, tmp_path):
    file = tmp_path / "style.safetensors"
    file.write_bytes(b"no LoRA")
    client = open_server(entries=Catalogue.of([str(tiny_model)], [str(file)]))
    answer = post(
        client, "infer_forward", **{**EXAMPLE, "lora_model_path": "models/Personalized/style.safetensors"}
    )
    assert answer.status_code == 200, answer.text
    assert job_of(client).options["lora"] == [f"{file}:0.55"]
    for path in ("other", str(tmp_path / "other"), "../../etc/passwd", "http://127.0.0.1/x"):
        failed(post(client, "update_diffusion_transformer", diffusion_transformer_path=path), 404)
        failed(post(client, "infer_forward", **{**EXAMPLE, "lora_model_path": path}), 422, "lora_model_path")
        for field in ("base_model_path", "motion_module_path"):
            failed(post(client, "infer_forward", **{**EXAMPLE, field: path}), 422, field)
    assert post(client, "update_diffusion_transformer").json() == {"message": "Success"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt_textbox", ""),
        ("prompt_textbox", 3),
        ("sample_step_slider", 0),
        ("sample_step_slider", "many"),
        ("width_slider", 33),
        ("width_slider", None),
        ("length_slider", 0),
        ("cfg_scale_slider", -1),
        ("seed_textbox", "x"),
        ("generation_method", "Magic"),
        ("resize_method", "Resize according to Reference"),
        ("start_image", "/etc/passwd"),
        ("start_image", "http://127.0.0.1/a.png"),
        ("validation_video", "AAAA"),
        ("lora_alpha_slider", "x"),
        ("unknown", 1),
        ("sampler_dropdown", 5),
    ],
)
def test_mistakes_name_their_field(client, field, value):
    answer = post(client, "infer_forward", **{**EXAMPLE, field: value})
    assert failed(answer, 422, field).startswith(f"{field}: ")
    assert client.get("/v1/videos").json()["data"] == []


def test_other_mistakes(client):
    failed(post(client, "update_edition", edition="v9"), 422, "edition")
    failed(client.post("/easyanimate/update_edition", content="{"), 400)
    failed(client.post("/easyanimate/infer_forward", content="[]"), 400)
    failed(client.post("/easyanimate/infer_forward", files={"a": b"b"}), 415)
    failed(post(client, "infer_forward"), 422, "prompt_textbox")
    message = failed(post(client, "infer_forward", **{**EXAMPLE, "prompt_textbox": "fail"}), 422)
    assert message.endswith("must be another, see the server's folder")


def test_a_cancelled_call_and_a_full_queue(open_server):
    client = open_server(queue_limit=1)
    answers = []
    slow = {**EXAMPLE, "prompt_textbox": "slow", "sample_step_slider": 1000}
    threads = [
        threading.Thread(target=lambda: answers.append(post(client, "infer_forward", **slow)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.5)
    failed(post(client, "infer_forward", **EXAMPLE), 429)
    for video in client.get("/v1/videos").json()["data"]:
        client.post(f"/v1/videos/{video['id']}/cancel")
    for thread in threads:
        thread.join(20)
    for answer in answers:
        failed(answer, 409)
    assert len(answers) == 2


def test_a_client_that_leaves_cancels_its_job(client):
    body = json.dumps({**EXAMPLE, "prompt_textbox": "slow", "sample_step_slider": 1000}).encode()
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    jobs = client.app.state.parts.jobs

    async def receive():
        if messages:
            return messages.pop()
        while not jobs.recent():
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/easyanimate/infer_forward",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "scheme": "http",
        "root_path": "",
    }
    began = time.monotonic()
    asyncio.run(client.app(scope, receive, send))
    assert str(jobs.wait(job_of(client).id, 20).state) == "cancelled"
    assert time.monotonic() - began < 5
    assert client.app.state.parts.watching.count == 0
