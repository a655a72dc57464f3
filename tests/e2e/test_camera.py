"""Camera paths and trajectories from the command line to files and back."""

from __future__ import annotations

import json

import pytest

from ea_app.api.record import read_record
from ea_data.control.moves import parse_camera
from ea_data.media import probe, write_video
from ea_dit.pipelines.tiny import make_tiny

GIVEN = ["--size", "48x32", "--frames", "5", "--steps", "2", "--seed", "3"]
WORDS = "pan left + zoom in, then clockwise"
POINTS = [[{"x": 8, "y": 16}, {"x": 40, "y": 16}]]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A camera model and a control model; both also read a reference picture."""
    folder = tmp_path_factory.mktemp("models")
    return {name: make_tiny(f"v5.1-7b-{name}", folder / name) for name in ("camera", "control")}


@pytest.fixture
def generate(command, models):
    """Makes a file and returns the hash of its frames and what was noted."""

    def run(model, output, *arguments):
        given = [*GIVEN, *arguments, "--model", models[model], "--output", output]
        code, _, err = command("generate", "x", *given)
        assert code == 0, err
        return json.loads(output.with_name(f"{output.name}.json").read_text())["frames"]["xxh3"], err

    return run


@pytest.fixture
def replay(command):
    """Makes a file again and checks that it has the same frames."""

    def run(path):
        code, out, err = command("replay", path)
        assert (code, out.splitlines()[-1]) == (0, "identical frames"), err

    return run


def test_a_path_in_words_steers_and_is_made_again(generate, replay, tmp_path):
    plain, _ = generate("camera", tmp_path / "plain.mp4")
    moved, err = generate("camera", tmp_path / "a.mp4", "--camera", f"  {WORDS} ")
    assert "camera" not in err
    other, _ = generate("camera", tmp_path / "b.mp4", "--camera", "pan right")
    assert len({plain, moved, other}) == 3
    assert probe(tmp_path / "a.mp4").frames == 5
    assert read_record(tmp_path / "a.mp4")["inputs"] == {"camera": {"text": WORDS}}
    replay(tmp_path / "a.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".png"])
def test_a_file_is_not_needed_again(suffix, generate, replay, tmp_path):
    file, output = tmp_path / "путь.txt", tmp_path / f"a{suffix}"
    file.write_text(parse_camera(WORDS, 5).to_text(), encoding="utf-8")
    frames = ["--frames", "1"] if suffix == ".png" else []
    _, err = generate("camera", output, "--camera", file, *frames)
    assert err.splitlines()[0] != "camera: 5 poses are spread over 5 frames"
    text = file.read_text(encoding="utf-8")
    file.unlink()
    assert read_record(output)["inputs"] == {"camera": {"text": text}}
    replay(output)
    (tmp_path / f"{output.name}.json").unlink()  # the file alone is enough
    replay(output)


def test_a_file_of_the_same_poses_makes_the_same_frames(generate, tmp_path):
    file = tmp_path / "path.txt"
    file.write_text(parse_camera("zoom in 0.5", 5).to_text())
    words, _ = generate("camera", tmp_path / "a.mp4", "--camera", "zoom in 0.5")
    poses, _ = generate("camera", tmp_path / "b.mp4", "--camera", file)
    assert words == poses


def test_how_a_file_is_fitted_is_said(generate, replay, tmp_path):
    file = tmp_path / "path.txt"
    for count, said in ((3, "3 poses are spread over 5"), (30, "30 poses are cut, at 24 per second, to 5")):
        file.write_text(parse_camera("pan up", count).to_text())
        _, err = generate("camera", tmp_path / "a.mp4", "--camera", file)
        assert err.splitlines()[0] == f"camera: {said} frames"
    replay(tmp_path / "a.mp4")


def test_a_long_file_fits_into_every_format(generate, replay, tmp_path):
    file = tmp_path / "path.txt"
    file.write_text(parse_camera("pan up", 4500).to_text())
    assert file.stat().st_size > 950_000
    for output in (tmp_path / "a.webp", tmp_path / "a.mp4", tmp_path / "a.png", tmp_path / "a.gif"):
        generate("camera", output, "--camera", file, *(["--frames", "1"] if output.suffix == ".png" else []))
        output.with_name(f"{output.name}.json").unlink()
        replay(output)


def test_a_camera_goes_with_a_reference(generate, replay, media, tmp_path):
    path = ["--camera", WORDS]
    alone, _ = generate("camera", tmp_path / "a.mp4", *path)
    both, _ = generate("camera", tmp_path / "b.mp4", *path, "--reference", media / "square.png")
    assert alone != both
    assert read_record(tmp_path / "b.mp4")["inputs"].keys() == {"camera", "reference"}
    replay(tmp_path / "b.mp4")


def test_a_trajectory_is_followed_and_is_made_again(generate, replay, tmp_path):
    file = tmp_path / "points.json"
    plain, _ = generate("control", tmp_path / "plain.mp4")
    file.write_text(json.dumps(POINTS))
    moved, _ = generate("control", tmp_path / "a.mp4", "--trajectory", file)
    assert plain != moved
    assert read_record(tmp_path / "a.mp4")["inputs"] == {"trajectory": {"text": file.read_text()}}
    file.unlink()
    replay(tmp_path / "a.mp4")


def test_a_trajectory_is_the_video_that_is_drawn_of_it(generate, tmp_path):
    from ea_data.control.trajectory import draw_trajectory, trajectory_from_text

    (tmp_path / "points.json").write_text(json.dumps(POINTS))
    paths = trajectory_from_text(json.dumps(POINTS), "x", 32, 48)
    write_video(tmp_path / "heat.webp", draw_trajectory(paths, 5, 32, 48), fps=8)  # lossless
    drawn, _ = generate("control", tmp_path / "a.mp4", "--trajectory", tmp_path / "points.json")
    shown, _ = generate("control", tmp_path / "b.mp4", "--control", tmp_path / "heat.webp", "--fps", "8")
    assert drawn == shown


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (
            "camera",
            ["--camera", "pan lft"],
            "camera: character 5 (pan ▸lft): expected left, right, up or down",
        ),
        ("camera", ["--camera", ""], "camera: character 1 (▸): expected a move"),
        ("camera", ["--camera", "none.txt"], "camera: none.txt does not exist"),
        ("camera", ["--camera", "bad.txt"], "camera: bad.txt line 2: 3 values; expected: 19 numbers"),
        (
            "camera",
            ["--camera", "static for 9"],
            "camera: character 1 (▸static for 9): the parts ask for 9 frames",
        ),
        ("camera", ["--camera", "turned.txt"], "camera: the camera turns too far between two poses"),
        ("camera", ["--camera", "static", "--control", "x"], "camera: cannot be combined with --control"),
        ("camera", ["--camera", "static", "--image", "x"], "camera: cannot be combined with --image"),
        (
            "camera",
            ["--trajectory", "points.json"],
            "trajectory: cannot be used: this model takes a camera path instead",
        ),
        (
            "control",
            ["--camera", "static"],
            "camera: cannot be used: this model takes a control video instead",
        ),
        ("control", ["--trajectory", "none.json"], "trajectory: none.json does not exist"),
        ("control", ["--trajectory", "bad.txt"], "trajectory: bad.txt line 2 column 3: not JSON"),
        ("control", ["--trajectory", "flat.json"], "trajectory: flat.json, point 2: [1]; expected"),
        ("control", ["--trajectory", ""], "trajectory: must be a file name, got nothing"),
        ("control", ["--trajectory", "x", "--control", "x"], "trajectory: cannot be combined with --control"),
        ("control", ["--trajectory", "x", "--video", "x"], "trajectory: cannot be combined with --video"),
    ],
)
def test_mistakes_are_told_in_one_line(model, arguments, message, command, models, tmp_path):
    (tmp_path / "bad.txt").write_text("\n0 1 2\n")
    (tmp_path / "flat.json").write_text("[[1, 2], [1]]")
    (tmp_path / "points.json").write_text(json.dumps(POINTS))
    start = "0 0.5 0.9 0.5 0.5 0 0"
    rows = f"\n{start} 1 0 0 0 0 1 0 0 0 0 1 0\n{start} -1 0 0 0 0 -1 0 0 0 0 1 0\n"
    (tmp_path / "turned.txt").write_text(rows)
    code, out, err = command("generate", "x", *GIVEN, *arguments, "--model", models[model])
    assert (code, out) == (2, "")
    assert err.startswith(f"ea-app: error: {message}")
    assert err.count("\n") == 1


def test_a_model_without_a_camera_says_so(command):
    code, _, err = command("generate", "x", "--camera", "static")
    assert code == 2
    assert err.startswith("ea-app: error: camera: cannot be used: this model supports ")
