"""Keyframes from the command line to files and back."""

from __future__ import annotations

import json

import pytest

from ea_app.api.record import read_record
from ea_data.media import read_frames
from ea_dit.pipelines.tiny import make_tiny

GIVEN = ["--frames", "9", "--size", "32", "--steps", "2", "--seed", "3"]


def _hash(path):
    return json.loads(path.with_name(f"{path.name}.json").read_text())["frames"]["xxh3"]


def test_keyframes_decide_the_frames_and_are_made_again(command, media, tmp_path):
    first, second = media / "square.png", media / "wide.png"
    runs = {
        "image": ["--image", first],
        "zero": ["--keyframe", f"0:{first}"],
        "middle": ["--keyframe", f"4:{first}"],
        "two": ["--keyframe", f"0:{first}, 4:{second}"],
        "both": ["--image", first, "--keyframe", f"4:{second},last:{first}"],
    }
    for name, given in runs.items():
        code, _, err = command("generate", "x", *GIVEN, *given, "--output", f"{name}.webp")
        assert code == 0, err
    hashes = {name: _hash(tmp_path / f"{name}.webp") for name in runs}
    assert hashes["image"] == hashes["zero"]
    assert len(set(hashes.values())) == len(runs) - 1
    assert read_frames(tmp_path / "two.webp").shape == (9, 32, 32, 3)
    assert read_record(tmp_path / "both.webp")["inputs"].keys() == {"image", "keyframe 4", "keyframe -1"}
    code, out, err = command("replay", tmp_path / "both.webp")
    assert (code, out.splitlines()[-1]) == (0, "identical frames"), err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--keyframe", "a.png"], "keyframe: must be NUMBER:FILE, several with commas, such as"),
        (["--keyframe", ""], "keyframe: must be NUMBER:FILE"),
        (["--keyframe", "3:"], "keyframe: must be NUMBER:FILE"),
        (["--keyframe", "x,3:{media}/square.png"], "keyframe: must be NUMBER:FILE"),
        (["--keyframe", "3:{media}/square.png,3:{media}/wide.png"], "keyframe: frame 3 is given twice"),
        (["--keyframe", "3:none.png,"], "keyframe: must be NUMBER:FILE"),
        (["--keyframe", "٣:none.png"], "keyframe: must be NUMBER:FILE"),
        (["--keyframe", "3" * 5000 + ":none.png"], "keyframe: must be NUMBER:FILE"),
        (["--keyframe", " 3 : none.png "], "keyframe: none.png does not exist"),
        (["--keyframe", "3:none.png"], "keyframe: none.png does not exist"),
        (
            ["--keyframe", "3:{media}/clip.mp4"],
            "keyframe: cannot read {media}/clip.mp4: it is a mp4 video, not a picture",
        ),
        (["--keyframe", "9:{media}/square.png"], "keyframe: 9 must lie in frames 0 ... 8 of the clip"),
        (["--keyframe=-10:{media}/square.png"], "keyframe: -10 must lie in frames 0 ... 8 of the clip"),
        (
            ["--keyframe", "8:{media}/square.png", "--last-image", "{media}/square.png"],
            "keyframe: 8 gives frame 8, which last-image gives already",
        ),
        (
            ["--keyframe", "8:{media}/square.png,last:{media}/square.png"],
            "keyframe: 8 gives frame 8, which keyframe last gives already",
        ),
        (
            ["--keyframe", "last:{media}/square.png,8:{media}/square.png"],
            "keyframe: 8 gives frame 8, which keyframe last gives already",
        ),
        (["--keyframe", "1:{media}/square.png", "--video", "x"], "keyframe: cannot be combined with --video"),
        (["--control", "x", "--keyframe", "1:a.png"], "control: cannot be combined with --keyframe"),
        (
            ["--keyframe", ",".join(f"{n}:a.png" for n in range(9))],
            "frames: must be at least 10 with --keyframe",
        ),
        (["--clip-image", "{media}/square.png"], "clip-image: cannot be used: this model does not read"),
    ],
)
def test_mistakes_are_told_in_one_line(given, message, command, media):
    filled = [value.format(media=media) for value in given]
    code, out, err = command("generate", "x", *GIVEN, *filled)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"ea-app: error: {message.format(media=media)}")


def test_a_picture_for_clip_is_recorded_and_used_again(command, media, tmp_path):
    model = make_tiny("v3-inp", tmp_path / "model")
    given = ["--image", media / "square.png", "--clip-image", media / "wide.png", "--model", model]
    code, _, err = command("generate", "x", *GIVEN, *given, "--output", "a.webp")
    assert code == 0, err
    assert read_record(tmp_path / "a.webp")["inputs"].keys() == {"image", "clip-image"}
    code, out, err = command("replay", tmp_path / "a.webp")
    assert (code, out.splitlines()[-1]) == (0, "identical frames"), err
