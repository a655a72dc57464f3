"""What is sent is told by its content and bounded; nothing that is named is read or fetched."""

from __future__ import annotations

import base64
import http.server
import io
import json
import random
import resource
import struct
import sys
import threading
import time
import zlib

import av
import numpy as np
import pytest
from PIL import Image

from ea_app.options import OPTIONS

PROMPT = {"prompt": "a red circle"}


def refused(answer, param=None, status=422):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert param is None or error["param"] == param, error
    return error["message"]


def encoded(data):
    return base64.b64encode(data).decode()


def options_of(client, video):
    return client.app.state.parts.jobs.get(video["id"]).options


def kept(client):
    folder = client.app.state.parts.uploads.folder
    return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))


def send(client, files=None, **data):
    if files is None:
        return client.post("/v1/videos", json=PROMPT | data)
    return client.post("/v1/videos", data=PROMPT | data, files=files)


def test_files_in_a_form_and_in_json(client, media):
    picture, clip = (media / "square.png").read_bytes(), (media / "clip.mp4").read_bytes()
    url = f"data:image/png;base64,{encoded(picture)}"
    made = [
        send(client, {"image": ("x.exe", picture, "text/html")}),
        send(client, {"input_reference": picture}),
        client.post("/v1/videos", json=PROMPT | {"image": encoded(picture)}),
        client.post("/v1/videos", json=PROMPT | {"input_reference": url}),
        client.post("/v1/videos", json=PROMPT | {"input_reference": {"image_url": url}}),
    ]
    for answer in made:
        assert answer.status_code == 202, answer.text
        path = options_of(client, answer.json())["image"]
        assert path.endswith(".png")
        with open(path, "rb") as file:  # noqa: PTH123
            assert file.read() == picture
    video = send(client, {"input_reference": clip}, frames="5").json()
    assert options_of(client, video)["video"].endswith(".mp4")
    files = [("references", picture), ("references", clip)]
    answer = send(client, files, mask_strategy="0;0,1,0,-1", loops="1")
    assert len(options_of(client, answer.json())["references"]) == 2, answer.text
    answer = send(client, {"keyframe[0]": picture, "keyframe[last]": picture})
    assert set(options_of(client, answer.json())["keyframe"]) == {"0", "last"}


def test_trajectories_and_cameras(client):
    points = [[{"x": 0.1, "y": 0.1}, {"x": 0.9, "y": 0.9}]]
    answers = [
        client.post("/v1/videos", json=PROMPT | {"trajectory": json.dumps(points)}),
        send(client, {"trajectory": json.dumps(points).encode()}),
    ]
    for answer in answers:
        if answer.status_code != 202:  # the example is of another form than the reader's
            assert refused(answer, "trajectory")
    assert client.post("/v1/videos", json=PROMPT | {"camera": "pan left"}).status_code == 202
    for wrong in ("README.md", "/etc/passwd", "a.txt", "../x", "not a move"):
        refused(client.post("/v1/videos", json=PROMPT | {"camera": wrong}), "camera")
    refused(client.post("/v1/videos", json=PROMPT | {"camera": "1 2 3\nx"}), "camera")
    refused(client.post("/v1/videos", json=PROMPT | {"trajectory": "[" * 100_000}), "trajectory")


def test_what_was_sent_goes_with_its_job(client, media):
    picture = (media / "square.png").read_bytes()
    refused(send(client, {"image": b"no picture"}), "image")
    refused(send(client, {"image": picture}, steps="0"), "steps")
    refused(send(client, {"image": picture}, size="33x33"), "size")
    assert kept(client) == []
    video = send(client, {"image": picture}).json()
    assert len(kept(client)) == 1
    client.app.state.parts.jobs.wait(video["id"], 30)
    client.delete(f"/v1/videos/{video['id']}")
    assert kept(client) == []


def test_what_no_job_needs_is_swept(client, media, monkeypatch):
    parts = client.app.state.parts
    picture = (media / "square.png").read_bytes()
    done, failed = (
        send(client, {"image": picture}).json(),
        send(client, {"image": picture}, prompt="fail").json(),
    )
    for video in (done, failed):
        parts.jobs.wait(video["id"], 30)
    parts.uploads.new()
    parts.uploads.sweep(parts.jobs.recent())
    assert len(kept(client)) == 2  # all are fresh
    monkeypatch.setattr("ea_app.server.uploads._FRESH_SECONDS", 0.0)
    parts.uploads.sweep(parts.jobs.recent())
    assert len(kept(client)) == 1  # the failed one may be resumed
    assert kept(client)[0].split("/")[0] in options_of(client, failed)["image"]


def test_there_is_only_so_much_room(open_server, media):
    picture = (media / "square.png").read_bytes()
    client = open_server(max_uploads=len(picture) + 10)
    assert send(client, {"image": picture}, prompt="slow", steps="1000").status_code == 202
    answer = send(client, {"image": picture})
    assert refused(answer, status=503) == "there is no room for files now; try again later"
    assert "retry-after" in answer.headers


def test_one_job_is_bounded(open_server):
    client = open_server(max_pixels=64 * 64 * 5)
    assert send(client, size="64x64", frames="5").status_code == 202
    message = refused(send(client, size="64x64", frames="6"), "size")
    assert message.endswith("are too many for this server; allowed: at most 20480 in all")
    refused(send(client, size="64x64", frames="3", loops="2"), "size")
    refused(send(client, size="64x64", seconds="1"), "size")


# --------------------------------------------------------------------------------------- paths and addresses


@pytest.fixture
def canary():
    """A server on this machine that nothing may ask: (address, requests)."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_POST = do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/canary", asked
        server.shutdown()


def probes(secret, address):
    """Names of a file and addresses, as they are tried."""
    names = [
        str(secret),
        f"file://{secret}",
        f"file:{secret}",
        f"../{secret.name}",
        f"../../{secret}",
        f"~/{secret.name}",
        f"..\\..\\{secret.name}",
        f"%2e%2e/{secret.name}",
        f"{secret}\0.png",
        f"./{secret}",
        f"//localhost{secret}",
        address,
        address.upper(),
        address.replace("127.0.0.1", "localhost"),
        address.replace("127.0.0.1", "[::1]"),
        address.replace("http", "https"),
        address.replace("http", "ftp"),
        address.replace("http", "rtsp"),
        f"concat:{secret}|{secret}",
        f"subfile,,start,0,end,9,,:{secret}",
        f"crypto:{secret}",
        f"data:{address}",
        f"hls+{address}",
        f"tcp://{address[7:]}",
        f"data:image/png,{address}",
    ]
    return names + [f" {name}" for name in names[:5]]


@pytest.mark.parametrize("share", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_nothing_that_is_named_is_read_or_fetched(client, canary, tmp_path, media, share):
    address, asked = canary
    secret = tmp_path / "secret.png"
    secret.write_bytes((media / "square.png").read_bytes())
    texts = [entry.key for entry in OPTIONS if entry.kind in ("file", "files", "keyframes", "url")]
    texts += ["input_reference", "camera", "model", "mask_strategy"]
    count = 0
    for turn, name in enumerate(probes(secret, address)):
        for key in texts[turn % share :: share]:
            value = [name] if key == "references" else {"0": name} if key == "keyframe" else name
            answer = client.post("/v1/videos", json=PROMPT | {key: value})
            assert 400 <= answer.status_code < 500, (key, name, answer.text)
            count += 1
        reference = {"input_reference": {"image_url": name}}
        refused(client.post("/v1/videos", json=PROMPT | reference), "input_reference")
    assert count >= 100
    assert asked == []
    assert kept(client) == []
    assert client.get("/v1/videos").json()["data"] == []


@pytest.mark.parametrize(
    "path", ["../../jobs.sqlite", "..%2f..%2fjobs.sqlite", "%2e%2e/%2e%2e/etc/passwd", "a/../b"]
)
@pytest.mark.parametrize("tail", ["", "/content", "/events", "/content?variant=../../x"])
def test_ids_are_no_paths(client, path, tail):
    answer = client.get(f"/v1/videos/{path}{tail}")
    assert answer.status_code in (404, 405, 422)
    assert "sqlite" not in answer.text.lower()


def test_names_of_files_and_prompts_make_no_names(client, media, tmp_path):
    picture = (media / "square.png").read_bytes()
    for name in ("../../../evil.png", "/tmp/evil.png", "CON", "x" * 500, "\u202egnp.exe", ""):
        answer = send(client, {"image": (name or "-", picture)}, prompt=f"../{name[:20]}".replace("\0", ""))
        assert answer.status_code == 202, answer.text
        client.app.state.parts.jobs.wait(answer.json()["id"], 30)
        content = client.get(f"/v1/videos/{answer.json()['id']}/content")
        assert f'filename="{answer.json()["id"]}.mp4"' in content.headers["content-disposition"]
    assert not list(tmp_path.glob("**/*evil*"))


def test_playlists_that_open_other_files_are_no_videos(client, canary, tmp_path, media):
    address, asked = canary
    clip = media / "clip.mp4"
    texts = [
        f"ffconcat version 1.0\nfile {clip}\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}.ts\n#EXT-X-ENDLIST\n",
        f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{address}"/></svg>',
        f'<?xml version="1.0"?><MPD><BaseURL>{address}</BaseURL></MPD>',
        "v=0\nc=IN IP4 127.0.0.1\nm=video 1 RTP/AVP 96\n",
    ]
    for text in texts:
        for key in ("image", "video", "control", "mask"):
            message = refused(send(client, {key: ("clip.mp4", text.encode(), "video/mp4")}), key)
            assert "not a known video or image" in message
    assert asked == []


# ----------------------------------------------------------------------------------------------------- bombs


def png_bomb(side):
    """A picture of zeros that is small as a file."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (side + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(min(side, 2000))) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def gif_bomb(frames, side=1):
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * frames + b"\x3b"


def video_bomb(container, side, frames, rate=8, times=None):
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream({"avi": "mjpeg", "webm": "libvpx"}.get(container, "mpeg4"), rate=rate)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p" if container != "avi" else "yuvj420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((side, side, 3), dtype=np.uint8))
        for number in range(frames):
            picture.pts = number if times is None else times[number]
            output.mux(stream.encode(picture))
        output.mux(stream.encode())
    return file.getvalue()


def tiff_bomb(side):
    """A picture of too many pixels, whose list of pages has no end."""
    tags = {256: side, 257: side, 258: 8, 259: 1, 262: 1, 273: 8, 279: 9}  # sizes, one byte a pixel, strips
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + struct.pack("<I", 8)


def bombs():
    yield "png of 400 million pixels", png_bomb(20_000)
    yield "png of 10^9 pixels", png_bomb(32_000)
    yield "png of 4 billion pixels", png_bomb(65_000)
    yield "gif of 200 000 frames", gif_bomb(200_000)
    yield "gif of a large screen", gif_bomb(2, 65_535)
    yield "gif of many frames of some size", gif_bomb(900, 1000)
    yield "mp4 of large frames", video_bomb("mp4", 4400, 1)
    yield "mp4 of too many frames", video_bomb("mp4", 16, 1200)
    yield "mp4 of too many seconds", video_bomb("mp4", 16, 2, times=[0, 160_000])
    yield "mp4 of too many pixels in all", video_bomb("mp4", 1024, 130)
    yield "mkv of too many pixels in all", video_bomb("matroska", 1024, 130)
    yield "mkv of too many frames", video_bomb("matroska", 16, 1200)
    yield "avi of too many frames", video_bomb("avi", 16, 1200)
    yield "half of an mp4", video_bomb("mp4", 64, 9)[:500]
    yield (
        "a bmp that says too much",
        b"BM" + struct.pack("<IHHIIiiHH", 99, 0, 0, 54, 40, 60_000, 60_000, 1, 24),
    )
    yield "a jpeg that is none", b"\xff\xd8\xff\xe0" + b"\0" * 5000
    yield "zeros", b"\0" * 1_000_000
    yield "a zip", b"PK\x03\x04" + b"\0" * 5000
    yield "webm of too many frames", video_bomb("webm", 16, 1200)
    yield "tiff of pages that name each other", tiff_bomb(60_000)


def peak_kilobytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux does")
def test_media_bombs_are_refused_quickly_and_cheaply(client, media, patience):
    send(client, {"image": (media / "square.png").read_bytes()})  # libraries are loaded
    send(client, {"video": (media / "clip.mp4").read_bytes()})
    made = list(bombs())
    for name, bomb in made:
        before, began = peak_kilobytes(), time.perf_counter()
        for key in ("input_reference", "mask"):
            message = refused(send(client, {key: bomb}), key)
            assert "/" not in message.replace("read the file", ""), message
        took, grown = (time.perf_counter() - began) / 2, (peak_kilobytes() - before) / 1000
        assert took < patience(), (name, took)
        assert grown < 300, (name, grown)
    assert len(kept(client)) <= 2  # those of the two that are fine


# -------------------------------------------------------------------------------------------------- nonsense


def malformed(count):
    """Requests that are wrong in one way or another: (content type, body)."""
    draw = random.Random(7)
    keys = [entry.key for entry in OPTIONS if entry.key not in ("negative", "seed")] + ["prompt", "seconds"]
    json_type = "application/json"
    texts = [
        "",
        "{",
        "[]",
        "null",
        "1",
        '"a"',
        "{'prompt': 1}",
        '{"prompt": NaN}',
        '{"prompt": "a", "steps": Infinity}',
        '{"prompt": "a", "prompt": "b"}',
        '{"prompt": "\\ud800"}',
        '{"prompt": "a\\u0000"}',
        '{"prompt": ""}',
        '{"prompt": "  "}',
        "{}",
        '{"a": ' * 50_000,
        "[" * 200_000,
        '{"prompt": "a", "seed": ' + "9" * 10_000 + "}",
        '{"prompt": "a", "size": [1]}',
        '{"prompt": "a", "size": {"a": 1}}',
        '{"prompt": "a", "size": "1e9x1e9"}',
        '{"prompt": "a", "__proto__": {}}',
        '{"prompt": ["a"]}',
        '{"prompt": {"a": 1}}',
        '{"prompt": true}',
    ]
    yield from ((json_type, text.encode()) for text in texts)
    yield json_type, b"\xff\xfe{\0}\0"
    yield json_type, b'{"prompt": "\xff"}'
    yield "multipart/form-data", b"x"
    yield "multipart/form-data; boundary=b", b"--b\r\nnonsense"
    parts = b"".join(b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' for _ in range(1000))
    yield "multipart/form-data; boundary=b", parts + b"--b--\r\n"
    values = [
        None.__class__.__name__,
        -1,
        1e300,
        [],
        {},
        [[]],
        "\0",
        "\ud800",
        {"a": {"b": []}},
        True,
        "x" * 9999,
    ]
    for _ in range(count):
        key, value = draw.choice(keys), draw.choice(values)
        yield json_type, json.dumps({"prompt": "a", key: value}).encode()


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_malformed_requests_get_an_answer_of_the_4xx(client, count):
    before = peak_kilobytes()
    answers = []
    for kind, body in malformed(count):
        answer = client.post("/v1/videos", content=body, headers={"Content-Type": kind})
        answers.append(answer.status_code)
        assert answer.status_code < 500, (body[:200], answer.text)
        if answer.status_code >= 400:
            assert len(answer.content) < 5000, "nobody needs all of it back"
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert sum(400 <= code < 500 for code in answers) > 0.9 * len(answers)
    assert client.get("/health").status_code == 200
    assert (peak_kilobytes() - before) / 1000 < 100


def test_texts_are_bounded(client):
    for key in ("prompt", "negative", "sampler", "camera", "mask_strategy"):
        message = refused(client.post("/v1/videos", json=PROMPT | {key: "x" * 100_001}), key)
        assert message == f"{key}: must be at most 100000 characters, got 100001" or key == "mask_strategy"


def test_pictures_that_are_fine(client):
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF"):
        file = io.BytesIO()
        Image.new("RGB", (40, 40), "red").save(file, kind)
        answer = send(client, {"image": file.getvalue()})
        assert answer.status_code == 202, (kind, answer.text)
