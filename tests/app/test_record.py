"""Records: what they hold, where they are found, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ea_app.api.inputs import Source
from ea_app.api.record import embedded, find_sources, make_record, read_record
from ea_app.catalog import find
from ea_app.options import InputError
from ea_data.media import write_video


@pytest.fixture
def record(tiny_model, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"picture")
    request = {
        "prompt": "a “red” circle\n红色的圆", "width": 32, "height": 32, "num_frames": 2, "seed": 2**62,
    }  # fmt: skip
    return make_record(
        request=request,
        inputs={"image": Source.of(tmp_path / "in" / "a.png")},
        model=find(str(tiny_model)),
        machine={"device": "cpu", "dtype": "float32", "threads": 1},
        timings={"total": 1.23456},
        frames={"xxh3": "0" * 32, "shape": [2, 32, 32, 3]},
    )


def test_what_is_in_it(record, tiny_model, tmp_path):
    assert record["model"] == {"name": str(tiny_model), "fingerprint": find(str(tiny_model)).fingerprint()}
    assert record["inputs"]["image"]["path"] == str(tmp_path / "in" / "a.png")
    assert set(record["versions"]) == {"python", "ea-app", "torch", "numpy", "pillow", "av"}
    assert record["timings"] == {"total": 1.235}
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".webp", ".png", ".zip"])
def test_the_file_itself_carries_it(suffix, record, tmp_path):
    path = tmp_path / f"a{suffix}"
    frames = np.zeros((1 if suffix == ".png" else 2, 32, 32, 3), dtype=np.uint8)
    write_video(path, frames, metadata=embedded(record, path))
    found = read_record(path)
    assert found["inputs"]["image"]["path"] == "in/a.png"
    assert found | {"inputs": record["inputs"]} == record
    assert find_sources(found, tmp_path)["image"].path == tmp_path / "in" / "a.png"


def test_the_json_beside_it_is_as_good(record, tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, np.zeros((2, 32, 32, 3), dtype=np.uint8), metadata="something else")
    (tmp_path / "a.mp4.json").write_text(json.dumps(record), encoding="utf-8")
    assert read_record(path) == read_record(tmp_path / "a.mp4.json") == record


def test_missing_and_foreign_files(tmp_path, media):
    for name, message in (
        (tmp_path / "no.mp4", "does not exist"),
        (tmp_path, "is no file"),
        (media / "text.png", "not a known video or image"),
        (media / "clip.mp4", "carries no record of how it was made, and clip.mp4.json is not beside it"),
    ):
        with pytest.raises(InputError, match=f"^file: .*{message}"):
            read_record(name)


def _without(record, key):
    return {name: value for name, value in record.items() if name != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: "{", "is broken"),
        (lambda r: [], "no record of the format"),
        (lambda r: r | {"format": "other"}, "no record of the format"),
        (lambda r: _without(r, "model"), "has no model"),
        (lambda r: r | {"request": 1}, "has no request"),
        (lambda r: r | {"request": _without(r["request"], "width")}, "has no usable width"),
        (lambda r: r | {"request": r["request"] | {"num_frames": 0}}, "has no usable num_frames"),
        (lambda r: r | {"request": r["request"] | {"seed": "1"}}, "has no usable seed"),
        (lambda r: r | {"machine": {}}, "has no usable device"),
        (lambda r: r | {"machine": r["machine"] | {"threads": 0}}, "has no usable threads"),
        (lambda r: r | {"machine": {"threads": 1, "device": 1, "dtype": "float32"}}, "has no usable device"),
        (lambda r: r | {"model": {"name": "x"}}, "has no usable fingerprint"),
        (lambda r: r | {"frames": {}}, "has no usable xxh3"),
        (lambda r: r | {"inputs": {"colour": {"text": "red"}}}, "broken input 'colour'"),
        (lambda r: r | {"inputs": {"camera": {"path": "a.txt", "xxh3": "0" * 32}}}, "broken input 'camera'"),
        (lambda r: r | {"inputs": {"camera": {"text": 1}}}, "broken input 'camera'"),
        (lambda r: r | {"inputs": {"image": {"text": "pan left"}}}, "broken input 'image'"),
        (lambda r: r | {"inputs": {"image": {"path": "a.png", "xxh3": "short"}}}, "broken input 'image'"),
        (lambda r: r | {"inputs": {"image": {"path": 1, "xxh3": "0" * 32}}}, "broken input 'image'"),
    ],
)
def test_broken_records_are_refused(change, message, record, tmp_path):
    path = tmp_path / "a.mp4.json"
    changed = change(record)
    path.write_text(changed if isinstance(changed, str) else json.dumps(changed), encoding="utf-8")
    with pytest.raises(InputError, match=f"^file: .*{message}"):
        read_record(path)


def test_input_files_must_be_as_they_were(record, tmp_path):
    (tmp_path / "in" / "a.png").write_bytes(b"another")
    with pytest.raises(InputError, match=r"^image: .*a.png has changed since"):
        find_sources(record, tmp_path)
    with pytest.raises(InputError, match=r"^image: cannot be found again: it was given from Python"):
        find_sources(record | {"inputs": {"image": None}}, tmp_path)
    with pytest.raises(InputError, match=r"^control: cannot be found again: it was given from Python"):
        find_sources(record | {"inputs": {"control": None}}, tmp_path)
