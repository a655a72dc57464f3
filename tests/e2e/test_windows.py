"""Long videos in windows, from the command line to files and back."""

from __future__ import annotations

import json

import pytest

from ea_app.api.record import read_record
from ea_data.media import read_frames
from ea_dit.pipelines.tiny import make_tiny

GIVEN = ["--size", "32", "--steps", "2", "--seed", "3"]


def _hash(path):
    return json.loads(path.with_name(f"{path.name}.json").read_text())["frames"]["xxh3"]


def test_a_long_video_is_made_again_and_its_joints_are_recorded(command, media, tmp_path):
    given = [*GIVEN, "--frames", "15", "--window", "9", "--image", media / "square.png"]
    code, out, err = command("generate", "x", *given, "--output", "a.webp")
    assert code == 0, err
    assert "15 frames" in out
    assert "2 joints between windows, most visible: " in err
    assert read_frames(tmp_path / "a.webp").shape == (15, 32, 32, 3)
    record = read_record(tmp_path / "a.webp")
    assert [joint["frame"] for joint in record["frames"]["joints"]] == [4, 8]
    assert record["request"]["window_frames"] == 9
    assert command("generate", "x", *given, "--join", "pixels", "--output", "b.webp")[0] == 0
    assert _hash(tmp_path / "a.webp") != _hash(tmp_path / "b.webp")
    code, out, err = command("replay", tmp_path / "a.webp")
    assert (code, out.splitlines()[-1]) == (0, "identical frames"), err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["--window", "10"],
            "window: must be from 2 to 9 for this model, got 10",
        ),
        (["--window", "8"], "window: must be a length that the autoencoder gives back, got 8; nearest: 5"),
        (["--window", "9", "--overlap", "4"], "overlap: must be a length at which latents can be cut, got 4"),
        (["--window", "9", "--overlap", "9"], "overlap: must be below the 9 frames of a window, got 9"),
        (["--frames", "5", "--overlap", "5"], "overlap: needs --window"),
        (["--frames", "5", "--join", "pixels"], "join: needs --window"),
        (["--window", "1"], "window: must be a whole number from 2 to 1025, got '1'"),
        (
            ["--window", "9", "--video", "{media}/short.mp4", "--mask", "{media}/mask.png"],
            "video: .* has 3 frames",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(given, message, command, media):
    import re

    filled = [value.format(media=media) for value in given]
    code, out, err = command("generate", "x", *GIVEN, "--frames", "20", *filled)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(f"ea-app: error: {message}", err), err


def test_a_camera_does_not_go_through_windows(command, tmp_path):
    model = make_tiny("v5.1-7b-camera", tmp_path / "model")
    given = [*GIVEN, "--frames", "20", "--window", "9", "--camera", "pan left", "--model", model]
    code, _, err = command("generate", "x", *given)
    assert code == 2
    assert err.startswith("ea-app: error: camera: cannot be used with --window: rays start at the first")
