"""Every mistake is one line on stderr that names the field, exit code 2, and nothing is left behind."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

CASES = [
    ([""], "prompt: must not be empty"),
    (["   "], "prompt: must not be empty"),
    (["a" * 257], "prompt: is too long: 257 bytes of UTF-8, this model reads at most 256"),
    (["x", "--negative", "红" * 86], "negative: is too long: 258 bytes"),
    (["x", "--size", "100x64"], "size: width and height must be multiples of 16 from 16 to 64"),
    (["x", "--size", "128"], "size: .* from 16 to 64 for this model, got 128x128"),
    (["x", "--size", "wide"], "size: must be WIDTHxHEIGHT"),
    (["x", "--frames", "0"], "frames: must be a whole number from 1 to 36000, got '0'"),
    (["x", "--window", "10"], "window: must be from 2 to 9 for this model, got 10"),
    (["x", "--frames", "many"], "frames: must be a whole number"),
    (["x", "--steps", "0"], "steps: must be a whole number from 1 to 1000"),
    (["x", "--guidance", "101"], "guidance: must be a number from 0 to 100"),
    (["x", "--seed", "-1"], "seed: must be a whole number from 0"),
    (["x", "--fps", "0"], "fps: must be a whole number from 1 to 120"),
    (["x", "--image", "none.png"], "image: none.png does not exist"),
    (["x", "--image", "{media}/broken.png"], "image: cannot read .*broken.png"),
    (["x", "--image", "{media}/empty.png"], "image: .*the file is empty"),
    (["x", "--image", "{media}/clip.mp4"], "image: .*is a mp4 video, not a picture"),
    (["x", "--last-image", "none.png"], "last-image: none.png does not exist"),
    (["x", "--image", "{media}/square.png", "--frames", "1"], "frames: must be at least 2 with --image"),
    (["x", "--video", "none.mp4"], "video: none.mp4 does not exist"),
    (["x", "--video", "{media}/broken.mp4"], "video: cannot read .*broken.mp4"),
    (["x", "--video", "{media}/empty.png"], "video: .*the file is empty"),
    (["x", "--video", "{media}/square.png"], "video: .*is a picture; give a video"),
    (["x", "--video", "{media}/short.mp4", "--frames", "5"], "video: .*has 3 frames, 5 are needed"),
    (["x", "--video", "{media}/clip.mp4", "--strength", "0"], "strength: must be a number from above 0 to 1"),
    (["x", "--video", "{media}/clip.mp4", "--strength", "1"], "strength: must be below 1"),
    (["x", "--video", "{media}/clip.mp4", "--image", "{media}/square.png"], "image: cannot be combined"),
    (["x", "--video", "{media}/clip.mp4", "--mask", "none.png"], "mask: none.png does not exist"),
    (["x", "--video", "{media}/clip.mp4", "--mask", "{media}/broken.png"], "mask: cannot read"),
    (["x", "--video", "{media}/clip.mp4", "--mask", "{media}/black.png"], "mask: .*black everywhere"),
    (["x", "--mask", "{media}/mask.png"], "mask: needs --video"),
    (["x", "--strength", "0.5"], "strength: needs --video"),
    (["x", "--colour", "red"], "--colour: unknown option"),
    (["x", "--frame", "5"], "--frame: unknown option; did you mean --frames?"),
    (["x", "y"], "arguments: 'y' is one too many; put a prompt of several words in quotes"),
    (["x", "--seed"], "seed: expected one argument"),
    (["x", "--model", "nothing"], "model: unknown model 'nothing'; give a bundled one"),
    (["x", "--model", "{media}"], "model: .* is no model directory: it has no transformer/"),
    (["x", "--output", "no/such/folder.mp4"], "output: the folder no/such does not exist"),
    (
        ["x", "--output", "{media}/clip.mp4/out.mp4"],
        "output: .*/clip.mp4 is a file, not a folder to write in",
    ),
    (["x", "--output", "a" * 300 + ".mp4"], "output: the name is too long: 304 letters"),
    (["x", "--model", "a" * 300], "model: 'a{40}'...: File name too long; give a directory or a hub id"),
    (
        ["x", "--output", "out.avi"],
        "output: must end with one of .mp4, .webm, .gif, .webp, .png, .zip; got 'out.avi'",
    ),
    (["x", "--format", "avi"], "format: must be one of mp4, webm, gif, webp, png; got 'avi'"),
    (["x", "--format", "gif", "--output", "o.gif"], "format: cannot be combined with --output"),
    (["x", "--output", "out.png"], "output: .png holds one frame, not 5"),
    (["x", "--output", ""], "output: must be a file name"),
    (["x", "--device", "tpu"], "device: must be 'auto', 'cpu', 'cuda' or 'cuda:N'"),
    (["x", "--device", "cuda:99"], "device: 'cuda:99' is not there"),
    (["x", "--dtype", "int8"], "dtype: must be one of auto, float32"),
]


def _is_one_line(code, out, err, message):
    lines = [line for line in err.splitlines() if not line.startswith("seed: ")]
    assert code == 2
    assert out == ""
    assert len(lines) == 1, err
    assert re.match(f"ea-app: error: {message}", lines[0]), lines[0]


@pytest.mark.parametrize(("arguments", "message"), CASES, ids=[message for _, message in CASES])
def test_mistakes(arguments, message, command, media, tmp_path):
    given = [argument.replace("{media}", str(media)) for argument in arguments]
    _is_one_line(*command("generate", *given), message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "command: is missing"),
        (["fly"], "command: invalid choice: 'fly'"),
        (["generate"], "prompt: is missing"),
        (["replay"], "file: is missing"),
        (["replay", "none.mp4"], "file: none.mp4 does not exist"),
        (["--fast"], "command: is missing|--fast: unknown option"),
    ],
)
def test_mistakes_around_commands(arguments, message, capsys, monkeypatch, tmp_path):
    from ea_app.cli import main

    monkeypatch.chdir(tmp_path)
    code = main(arguments)
    captured = capsys.readouterr()
    _is_one_line(code, captured.out, captured.err, message)


def _edit_weights(folder, change):
    path = next(folder.glob("*.safetensors"))
    state = load_file(path)
    change(state)
    save_file(state, path)


def _drop(state):
    del state[min(state)]


def _add(state):
    state["extra.weight"] = torch.zeros(1)


def _reshape(state):
    name = min(state)
    state[name] = torch.zeros(3, 5, 7)


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
@pytest.mark.parametrize("change", [_drop, _add, _reshape])
def test_checkpoints_are_taken_exactly(part, change, command, tiny_model, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    name = "extra.weight" if change is _add else min(load_file(next((model / part).glob("*.safetensors"))))
    _edit_weights(model / part, change)
    _is_one_line(*command("generate", "x", "--model", model), f"model: .*{re.escape(name)}")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_pickles_are_refused(command, tiny_model, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    next((model / "vae").glob("*.safetensors")).unlink()
    torch.save({}, model / "vae" / "diffusion_pytorch_model.bin")
    _is_one_line(*command("generate", "x", "--model", model), "model: .*(pickle|safetensors)")


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
@pytest.mark.parametrize(
    "damage", ["no config", "broken config", "unknown class", "cut weights", "no weights"]
)
def test_broken_model_directories(part, damage, command, tiny_model, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    config, weights = model / part / "config.json", next((model / part).glob("*.safetensors"))
    if damage == "no config":
        config.unlink()
    elif damage == "broken config":
        config.write_text("{")
    elif damage == "unknown class":
        config.write_text(json.dumps({"_class_name": "Other", "down_block_types": ["Other"]}))
    elif damage == "cut weights":
        weights.write_bytes(weights.read_bytes()[:-10])
    else:
        weights.unlink()
    _is_one_line(*command("generate", "x", "--model", model), "model: ")


def test_a_mistake_leaves_an_existing_file_alone(command, media, tmp_path):
    (tmp_path / "out.mp4").write_text("precious")
    code, _, _ = command("generate", "x", "--image", media / "broken.png", "--output", "out.mp4")
    assert code == 2
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_debug_shows_the_traceback(command):
    code, _, err = command("generate", "x", "--frames", "0", "--debug")
    assert code == 2
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("ea-app: error: frames: ")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "ea-app: interrupted, nothing was written"),
        (MemoryError(), 1, "ea-app: error: not enough memory"),
        (torch.OutOfMemoryError("CUDA"), 1, "ea-app: error: not enough memory on the device"),
        (OSError(28, "No space left on device"), 1, "ea-app: error: No space left on device"),
        (TypeError("oops\nmore"), 1, "ea-app: error: unexpected TypeError: oops more"),
    ],
)
@pytest.mark.parametrize("place", ["ea_app.api.engine.load_pipeline", "ea_app.api.result_file.open_writer"])
def test_failures_are_one_line_too(error, code, message, place, command, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise error

    (tmp_path / "out.mp4").write_text("precious")
    monkeypatch.setattr(place, fail)
    found, out, err = command("generate", "x", "--seed", "1", "--output", "out.mp4")
    lines = [line for line in err.splitlines() if not line.startswith("denoising")]
    # A full disk while reading or writing is about that file.
    expected = 2 if isinstance(error, OSError) else code
    assert found == expected
    assert out == ""
    assert len(lines) == 1
    assert (
        lines[0].startswith("ea-app: error: ") if isinstance(error, OSError) else lines[0].startswith(message)
    )
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]
