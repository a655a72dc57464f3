"""Mask strategies and loops from the command line to files and back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ea_app.api.record import read_record
from ea_data.media import read_frames
from ea_dit.pipelines.tiny import make_tiny

GIVEN = ["--size", "32", "--steps", "4", "--frames", "8", "--seed", "3"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """One of Open-Sora, which knows edit ratios, and one that keeps a frame or makes it."""
    folder = tmp_path_factory.mktemp("models")
    return {name: make_tiny(name, folder / name) for name in ("open-sora-1.1", "v5.1-7b-inp")}


@pytest.fixture
def generate(command, models, tmp_path):
    """Makes a file and returns its frames."""

    def run(name, *arguments, model="open-sora-1.1", prompt="x"):
        output = tmp_path / f"{name}.webp"
        code, _, err = command(
            "generate", prompt, *GIVEN, *arguments, "--model", models[model], "--output", output
        )
        assert code == 0, err
        return read_frames(output)

    return run


def _replays(command, file):
    code, out, err = command("replay", file)
    assert (code, out.splitlines()[-1]) == (0, "identical frames"), err


def test_pictures_go_where_the_strategy_says(generate, command, media, tmp_path):
    references = ["--references", f"{media}/square.png; {media}/clip.mp4"]
    plain = generate("plain")
    made = generate("a", *references, "--mask-strategy", "0;0,1,2,-2,2")
    same = generate(
        "b",
        "--keyframe",
        f"0:{media}/square.png",
        "--mask-strategy",
        "0,0,2,-2,2",
        "--references",
        f"{media}/clip.mp4",
    )
    assert not np.array_equal(plain, made)
    assert np.array_equal(made, same)
    inputs = read_record(tmp_path / "a.webp")["inputs"]
    assert inputs.keys() == {"references 0", "references 1", "mask-strategy"}
    assert inputs["mask-strategy"] == {"text": "0;0,1,2,-2,2"}
    _replays(command, tmp_path / "a.webp")


def test_an_edit_ratio_changes_what_is_given(generate, command, media, tmp_path):
    references = ["--references", f"{media}/clip.mp4"]
    kept, edited, anew = (
        generate(name, *references, "--mask-strategy", f"0,0,0,0,8,{ratio}")
        for name, ratio in (("kept", 0.01), ("edited", 0.6), ("anew", 1))
    )
    assert np.array_equal(anew, generate("plain"))
    assert not np.array_equal(kept, edited)
    assert not np.array_equal(edited, anew)
    _replays(command, tmp_path / "edited.webp")


def test_loops_go_on_from_each_other(generate, command, media, tmp_path):
    one = generate("one")
    three = generate("three", "--loops", "3", prompt="|0|a|2|b")
    assert (len(one), len(three)) == (8, 16)
    request = read_record(tmp_path / "three.webp")["request"]
    assert request["window_prompts"] == ["a", "a", "b"]
    assert (request["prompt"], request["window_frames"], request["overlap_frames"]) == ("a", 8, 4)
    assert not np.array_equal(three, generate("same", "--loops", "3", prompt="a"))
    _replays(command, tmp_path / "three.webp")
    ends = ["--references", f"{media}/square.png", "--mask-strategy", "0;1,0,0,-1;2,1,0,-1", "--loops", "3"]
    assert len(generate("ends", *ends, "--overlap", "2")) == 20
    _replays(command, tmp_path / "ends.webp")


def test_easyanimate_speaks_the_language_where_it_can(generate, command, media, tmp_path):
    given = ["--references", f"{media}/square.png", "--mask-strategy", "0;0,0,0,-1"]
    made = generate("a", *given, "--frames", "9", model="v5.1-7b-inp")
    ends = ["--image", media / "square.png", "--last-image", media / "square.png"]
    assert np.array_equal(made, generate("b", *ends, "--frames", "9", model="v5.1-7b-inp"))
    loops = ["--loops", "2", "--overlap", "5", "--frames", "9"]
    assert len(generate("c", *given, *loops, model="v5.1-7b-inp")) == 13
    _replays(command, tmp_path / "c.webp")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["--references", "{media}/square.png", "--mask-strategy", "0,x"],
            "mask-strategy: character 3 (0,▸x): expected the index of a reference",
        ),
        (["--mask-strategy", "0"], "mask-strategy: needs --references"),
        (["--references", "{media}/square.png"], "references: needs --mask-strategy"),
        (
            ["--references", ";", "--mask-strategy", "0"],
            "references: must be file names, several with ; between",
        ),
        (["--references", "none.png", "--mask-strategy", "0"], "references: none.png does not exist"),
        (
            ["--references", "{media}/square.png", "--mask-strategy", "0,1"],
            "mask-strategy: mask strategy 0,1: reference 1 is not there; there is 1",
        ),
        (
            ["--references", "{media}/square.png", "--mask-strategy", "1"],
            "mask-strategy: mask strategy 1: loop 1 is not there; there is 1 loop",
        ),
        (["--loops", "2", "--window", "8"], "loops: cannot be combined with --window"),
        (["--loops", "2", "--overlap", "8"], "overlap: must be below the 8 frames of a clip, got 8"),
        (["--loops", "0"], "loops: must be a whole number from 1 to 1000, got '0'"),
        (
            ["--references", "{media}/square.png", "--mask-strategy", "0", "--image", "{media}/square.png"],
            "mask-strategy: gives frame 0, which image gives already",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(given, message, command, media, models):
    filled = [value.format(media=media) for value in given]
    code, out, err = command("generate", "x", *GIVEN, *filled, "--model", models["open-sora-1.1"])
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(f"ea-app: error: {message}")


def test_what_a_model_cannot_do_is_named(command, media, models):
    given = ["--references", f"{media}/square.png", "--mask-strategy", "0,0,0,0,1,0.5", "--frames", "9"]
    code, _, err = command("generate", "x", *GIVEN, *given, "--model", models["v5.1-7b-inp"])
    assert (code, err) == (2, "ea-app: error: mask-strategy: must have the edit ratio 0 for this model\n")
    code, _, err = command("generate", "|0|a|x|b", *GIVEN, "--loops", "2", "--model", models["open-sora-1.1"])
    assert code == 2
    assert err.startswith("ea-app: error: prompt: character 6 (|0|a|▸x|b): ")


def test_options_at_the_end_of_a_prompt_win(generate, command, media, models):
    options = json.dumps({"reference_path": f"{media}/square.png", "mask_strategy": "0,0,0,-1"})
    given = ["--references", f"{media}/wide.png", "--mask-strategy", "0"]
    made = generate("a", *given, prompt=f"x {options}")
    assert np.array_equal(made, generate("b", "--last-image", media / "square.png"))
    code, _, err = command("generate", 'x {"mask_strategy": "z"}', *GIVEN, "--model", models["open-sora-1.1"])
    assert code == 2
    assert err.startswith("ea-app: error: prompt: mask_strategy: character 1 (▸z)")


def test_a_broken_record_says_what_is_wrong(generate, command, media, tmp_path):
    generate("a", "--references", f"{media}/square.png", "--mask-strategy", "0")
    file = tmp_path / "a.webp.json"
    record = json.loads(file.read_text())
    record["inputs"]["mask-strategy"] = {"text": "0,5"}
    file.write_text(json.dumps(record))
    code, _, err = command("replay", file)
    assert code == 2
    assert err.startswith("ea-app: error: mask-strategy: mask strategy 0,5: reference 5 is not there")


def test_without_loops_the_clip_is_the_whole_video(generate, command, media, tmp_path):
    given = ["--frames", "17", "--window", "9", "--references", f"{media}/square.png"]
    last = generate("a", *given, "--mask-strategy", "0,0,0,-1", model="v5.1-7b-inp")
    keyframe = ["--frames", "17", "--window", "9", "--keyframe", f"16:{media}/square.png"]
    assert np.array_equal(last, generate("b", *keyframe, model="v5.1-7b-inp"))
    middle = generate("c", *given, "--mask-strategy", "0,0,0,12", model="v5.1-7b-inp")
    assert not np.array_equal(last, middle)
    _replays(command, tmp_path / "a.webp")


def test_clips_of_easyanimate_share_as_many_frames_as_can_be_cut(generate):
    assert len(generate("a", "--frames", "9", "--loops", "2", model="v5.1-7b-inp")) == 13


def test_texts_of_loops_are_not_enhanced(command, models):
    server = ["--enhance-prompt", "http://localhost:9/v1", "--enhance-model", "m"]
    given = [*GIVEN, "--loops", "2", *server, "--model", models["open-sora-1.1"]]
    code, _, err = command("generate", "|0|a|1|b", *given)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("ea-app: error: enhance-prompt: cannot be used with texts for single loops")
