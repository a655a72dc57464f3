"""Camera paths as they are given, and the commands that write paths and trajectories."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ea_data.cli import main
from ea_data.control.camera import camera_from_text
from ea_data.control.moves import parse_camera
from ea_data.control.source import camera_path, camera_text
from ea_data.control.trajectory import draw_trajectory
from ea_data.media import read_frames


@pytest.fixture
def file(tmp_path):
    """A camera file of 13 poses."""
    path = tmp_path / "pan.txt"
    path.write_text(parse_camera("pan left", 13).to_text())
    return path


def shifts(path):
    return path.world_to_camera[:, 0, 3].tolist()


def test_words_stay_words():
    text = camera_text(" pan  left\n+ zoom in ")
    assert text == "pan left + zoom in"
    assert np.array_equal(camera_path(text, 5, 8).world_to_camera, parse_camera(text, 5).world_to_camera)


def test_a_file_becomes_its_content(file, monkeypatch, tmp_path):
    text = camera_text(str(file))
    assert text == file.read_text()
    monkeypatch.chdir(tmp_path)
    file.rename("pan left")  # what exists is a file, whatever it is called
    assert camera_text("pan left") == text
    step = 1.5 / 13
    assert shifts(camera_path(text, 5, 8)) == pytest.approx([0, 3 * step, 6 * step, 9 * step, 12 * step])
    assert shifts(camera_path(text, 5, 24)) == pytest.approx([0, step, 2 * step, 3 * step, 4 * step])
    assert shifts(camera_path(text, 7, 8)) == pytest.approx([2 * i * step for i in range(7)])


@pytest.mark.parametrize("name", ["none.txt", "none.TXT", "folder/none", "folder\\none"])
def test_names_of_files_that_are_not_there(name):
    with pytest.raises(ValueError, match="does not exist"):
        camera_text(name)


def test_words_that_no_file_could_be_called():
    for words in ("pan left + " * 60 + "zoom in", "pan\0left"):
        assert camera_text(words) == " ".join(words.split())


def test_wrong_content_is_found_at_once(file):
    file.write_text("\n0 1 2\n")
    with pytest.raises(ValueError, match=r"pan\.txt line 2: 3 values"):
        camera_text(str(file))
    file.write_text("no newline")
    with pytest.raises(ValueError, match="has no poses"):
        camera_text(str(file))
    with pytest.raises(ValueError, match=r"^the record line 2: 3 values"):
        camera_path("\n0 1 2\n", 5, 8, name="the record")


def test_a_path_is_written_and_read_again(tmp_path, capsys):
    assert main(["camera", "zoom in 0.5, then clockwise", "--frames", "9"]) == 0
    text = capsys.readouterr().out
    assert (
        main(["camera", "zoom in 0.5, then clockwise", "--frames", "9", "--output", str(tmp_path / "a.txt")])
        == 0
    )
    assert (tmp_path / "a.txt").read_text() == text
    expected = parse_camera("zoom in 0.5, then clockwise", 9)
    assert np.allclose(camera_from_text(text, "x").world_to_camera, expected.world_to_camera, atol=1e-9)
    capsys.readouterr()
    assert main(["camera", str(tmp_path / "a.txt"), "--frames", "3", "--fps", "6"]) == 0
    taken = camera_from_text(capsys.readouterr().out, "x").world_to_camera
    assert np.allclose(taken, expected.world_to_camera[[0, 4, 8]], atol=1e-9)


def test_a_trajectory_is_drawn(tmp_path):
    file = tmp_path / "points.json"
    file.write_text(json.dumps([[{"x": 20, "y": 20}, {"x": 70, "y": 40}], [[10, 10]]]))
    output = tmp_path / "points.webp"  # lossless
    assert main(["trajectory", str(file), str(output), "--frames", "5", "--size", "96x64"]) == 0
    paths = [np.array([[20.0, 20], [70, 40]]), np.array([[10.0, 10]])]
    assert np.array_equal(read_frames(output), draw_trajectory(paths, 5, 64, 96))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["camera", "pan lft"], "character 5 (pan ▸lft): expected left, right, up or down"),
        (["camera", "none.txt"], "none.txt does not exist"),
        (["camera", "static", "--frames", "0"], "--frames is 0; allowed: 1 to 1025"),
        (["camera", "static", "--frames", "9999999999"], "allowed: 1 to 1025"),
        (["camera", "static", "--output", "no/folder.txt"], "the folder no does not exist"),
        (["trajectory", "none.json", "x.mp4"], "none.json does not exist"),
        (["trajectory", "none.json", "x.mp4", "--size", "9"], "--size is '9'; allowed: WIDTHxHEIGHT"),
        (["trajectory", "none.json", "x.mp4", "--frames", "-1"], "--frames is -1"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"ea-data {arguments[0]}: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_rate_that_is_none(file, capsys):
    assert main(["camera", str(file), "--fps", str(math.nan)]) == 2
    assert "fps is nan; allowed: numbers above 0" in capsys.readouterr().err
