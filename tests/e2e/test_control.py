"""Control videos and reference pictures from the command line to files and back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ea_app.api.record import read_record
from ea_data.media import probe, read_video, write_video
from ea_dit.pipelines.tiny import make_tiny

GIVEN = ["--size", "32", "--steps", "2", "--seed", "3"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A control model that also reads a reference picture."""
    return make_tiny("v5.1-7b-control", tmp_path_factory.mktemp("control") / "model")


@pytest.fixture
def generate(command, model):
    """Makes a file and returns the hash of its frames."""

    def run(output, *arguments):
        code, _, err = command("generate", "x", *GIVEN, *arguments, "--model", model, "--output", output)
        assert code == 0, err
        return json.loads(output.with_name(f"{output.name}.json").read_text())["frames"]["xxh3"]

    return run


def test_what_is_followed_decides_the_frames_and_is_made_again(generate, command, media, tmp_path):
    alone = generate(tmp_path / "a.mp4", "--control", media / "clip.mp4")
    video = read_video(tmp_path / "a.mp4")
    assert (len(video.frames), round(video.fps)) == (9, 12)
    assert read_record(tmp_path / "a.mp4")["inputs"].keys() == {"control"}
    both = generate(tmp_path / "b.mp4", "--control", media / "clip.mp4", "--reference", media / "square.png")
    assert read_record(tmp_path / "b.mp4")["inputs"].keys() == {"control", "reference"}
    assert alone != both
    code, out, err = command("replay", tmp_path / "b.mp4")
    assert (code, out.splitlines()[-1]) == (0, "identical frames"), err


def test_a_picture_holds_for_all_frames(generate, command, media, tmp_path):
    given = ["--frames", "5", "--fps", "6"]
    picture = generate(tmp_path / "a.mp4", "--control", media / "square.png", *given)
    assert picture != generate(tmp_path / "b.mp4", *given)
    assert probe(tmp_path / "a.mp4").frames == 5
    code, out, err = command("replay", tmp_path / "a.mp4")
    assert (code, out.splitlines()[-1]) == (0, "identical frames"), err


def test_a_changed_file_is_named_by_its_option(generate, command, tmp_path):
    signal = tmp_path / "signal.mp4"
    write_video(signal, np.zeros((5, 32, 32, 3), dtype=np.uint8))
    generate(tmp_path / "a.mp4", "--control", signal)
    write_video(signal, np.full((5, 32, 32, 3), 255, dtype=np.uint8))
    code, out, err = command("replay", tmp_path / "a.mp4")
    assert (code, out) == (2, "")
    assert err.startswith(f"ea-app: error: control: {signal} has changed since")
