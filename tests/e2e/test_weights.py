"""Weights beside a model's directory: named, recorded, compared when a result is made again."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from safetensors.torch import load_file, save_file

from ea_app import Engine, InputError
from ea_app.api.record import read_record
from ea_dit.pipelines.tiny import MOTION_FILE, make_tiny

GIVEN = ["--size", "32", "--steps", "1", "--seed", "3", "--quiet"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """V1's image model, its motion modules elsewhere, and another image model's weights."""
    folder = tmp_path_factory.mktemp("v1")
    make_tiny("v1-t2v", folder / "model")
    shutil.move(folder / "model" / MOTION_FILE, folder / "mm.safetensors")
    weights = next((folder / "model" / "transformer").glob("*.safetensors"))
    save_file({name: tensor * 1.5 for name, tensor in load_file(weights).items()}, folder / "own.safetensors")
    return folder


@pytest.fixture
def own(parts, tmp_path):
    """The same in a folder that a test may spoil."""
    return shutil.copytree(parts, tmp_path / "v1")


@pytest.fixture
def generate(command):
    def run(folder, output, *arguments):
        given = [*GIVEN, "--model", folder / "model", "--output", output]
        return command("generate", "x", *given, *arguments)

    return run


def _hash(output):
    return json.loads(output.with_name(f"{output.name}.json").read_text())["frames"]["xxh3"]


def test_named_weights_are_used_recorded_and_used_again(generate, command, own, tmp_path):
    motion, personal = own / "mm.safetensors", own / "own.safetensors"
    given = ["--frames", "3", "--motion-module", motion]
    assert generate(own, tmp_path / "a.mp4", *given)[0] == 0
    assert generate(own, tmp_path / "b.mp4", *given, "--transformer-weights", personal)[0] == 0
    assert _hash(tmp_path / "a.mp4") != _hash(tmp_path / "b.mp4")
    plain, both = read_record(tmp_path / "a.mp4")["weights"], read_record(tmp_path / "b.mp4")["weights"]
    assert plain == {"motion_module": both["motion_module"]}
    assert both["motion_module"]["path"] == "v1/mm.safetensors"
    assert both["transformer_weights"]["path"] == "v1/own.safetensors"
    code, out, err = command("replay", tmp_path / "b.mp4")
    assert (code, out.splitlines()[-1]) == (0, "identical frames"), err

    save_file({name: tensor * 2 for name, tensor in load_file(personal).items()}, personal)
    code, out, err = command("replay", tmp_path / "b.mp4")
    assert (code, out) == (2, "")
    assert err.startswith(f"ea-app: error: transformer-weights: {personal} has changed since")
    motion.unlink()
    code, _, err = command("replay", tmp_path / "a.mp4.json")
    assert (code, err) == (2, f"ea-app: error: motion-module: {motion} does not exist\n")


def test_a_model_without_motion_modules_makes_pictures(generate, parts, tmp_path):
    code, _, err = generate(parts, tmp_path / "a.mp4", "--frames", "3")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("ea-app: error: frames: ")
    assert generate(parts, tmp_path / "a.png", "--frames", "1")[0] == 0
    assert "weights" not in read_record(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--motion-module", "none.safetensors"], "motion-module: none.safetensors does not exist"),
        (["--motion-module", "{own}"], "motion-module: "),
        (
            ["--transformer-weights", "none.safetensors"],
            "transformer-weights: none.safetensors does not exist",
        ),
        (
            ["--transformer-weights", "{motion}", "--motion-module", "{motion}"],
            "(transformer-weights|motion-module): ",
        ),
        (
            ["--transformer-weights", "{text}"],
            "transformer-weights: .*is not a safetensors file or is cut off",
        ),
        (["--motion-module", ""], "motion-module: must be a file name"),
    ],
)
def test_wrong_weights_are_named_by_their_option(arguments, message, generate, parts, tmp_path):
    (tmp_path / "text.safetensors").write_text("text")
    names = {
        "{own}": parts / "own.safetensors",
        "{motion}": parts / "mm.safetensors",
        "{text}": tmp_path / "text.safetensors",
    }
    given = [names.get(argument, argument) for argument in arguments]
    code, out, err = generate(parts, tmp_path / "a.png", "--frames", "1", *given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(f"ea-app: error: {message}", err), err
    assert not (tmp_path / "a.png").exists()


def test_from_python(parts):
    engine = Engine.load(str(parts / "model"), device="cpu", motion_module=parts / "mm.safetensors")
    result = engine.generate(engine.job("x", size=32, frames=3, steps=1, seed=3))
    assert result.frames.shape[0] == 3
    assert set(result.record["weights"]) == {"motion_module"}
    assert result.record["weights"]["motion_module"]["path"] == str(parts / "mm.safetensors")
    with pytest.raises(InputError, match=r"^motion-module: nowhere does not exist$"):
        Engine.load(str(parts / "model"), motion_module="nowhere")
