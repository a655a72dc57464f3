"""Settings that come back from files that are dropped into the studio."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from studio_parts import uploaded

from ea_app.options import InputError


def test_what_is_gone_is_named(studio, uploads):
    view = studio.submit({"prompt": "a", "image": uploaded(uploads)})
    Path(view.options["image"]).unlink()
    values, missing = studio.reuse(view.id)
    assert missing == ["image"]
    assert values["image"] is None


def test_a_foreign_record_opens_no_file_of_this_machine(studio, uploads, tmp_path):
    from ea_app.api.record import FORMAT

    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    record = {
        "format": FORMAT,
        "request": {"prompt": "a", "width": 64, "height": 64, "num_frames": 9, "seed": 3, "num_steps": 4},
        "model": {"name": "/etc", "fingerprint": "0" * 32},
        "machine": {"device": "cpu", "dtype": "float32", "threads": 1},
        "frames": {"xxh3": "0" * 32},
        "inputs": {"image": {"path": str(secret), "xxh3": "0" * 32}},
    }
    path = uploads.keep_text("file", json.dumps(record), ".json")
    values, missing = studio.restore(path)
    assert values["prompt"] == "a"
    assert values["seed"] == "3"
    assert values["image"] is None
    assert set(missing) == {"image", "model"}
    with pytest.raises(InputError, match="uploaded"):
        studio.restore(str(secret))


def test_a_dropped_zip_of_pictures_is_read_and_one_of_anything_else_refused(studio, uploads):
    import zipfile

    import numpy as np

    from ea_app.api.record import FORMAT
    from ea_data.media import write_video

    record = {
        "format": FORMAT,
        "request": {"prompt": "a", "width": 8, "height": 8, "num_frames": 2, "seed": 3, "num_steps": 4},
        "model": {"name": "default", "fingerprint": "0" * 32},
        "machine": {"device": "cpu", "dtype": "float32", "threads": 1},
        "frames": {"xxh3": "0" * 32},
        "inputs": {},
    }
    place = uploads.folder / "0123"
    place.mkdir(parents=True)
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    write_video(place / "a.zip", frames, fps=8, metadata=json.dumps(record))
    values, missing = studio.restore(str(place / "a.zip"))
    assert (values["prompt"], values["frames"], missing) == ("a", "2", [])
    write_video(place / "b.zip", frames, fps=8, metadata=None)
    write_video(place / "c.zip", frames, fps=8, metadata="no record")
    with zipfile.ZipFile(place / "d.zip", "w") as archive:
        archive.writestr("../00000.png", b"")
    (place / "e.json").write_bytes(b"\xff\xfe")
    for name in "bcde":
        path = next(place.glob(f"{name}.*"))
        with pytest.raises(InputError) as refused:
            studio.restore(str(path))
        assert refused.value.field == "file"
        assert str(place) not in str(refused.value), "paths of the server are not for visitors"
