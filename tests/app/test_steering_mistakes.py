"""Wrong input to steering: one line that names the option or the file, exit code 2, nothing else printed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ea_app.api import Engine
from ea_app.api.check import check_job, to_request
from ea_app.api.extraction import Extraction
from ea_app.api.job import Job
from ea_app.api.notices import written_rate
from ea_app.api.record import FORMAT
from ea_app.cli.console import Console
from ea_app.options import InputError, parse
from ea_data.control.kinds import KINDS
from ea_dit.pipelines import Frames, GenerationRequest, Video


def test_notes_of_a_job_wait_until_it_runs(capsys):
    console = Console(quiet=False)
    console.note_when_it_runs("seed: 1 (drawn)")
    with console.progress() as on_progress:
        on_progress("load", 1, 1)
        assert capsys.readouterr().err == ""
        on_progress("text", 0, 1)
        assert capsys.readouterr().err == "seed: 1 (drawn)\n"
        on_progress("denoise", 0, 1)
        assert capsys.readouterr().err == ""


def test_options_of_a_signal_that_do_not_go_together_are_named_after_theirs():
    pytest.importorskip("cv2")
    made = Extraction(kind=KINDS["canny"], options=KINDS["canny"].options(low=200.0, high=100.0))
    with pytest.raises(InputError, match=r"^control-options: low is 200 and high is 100"):
        made.apply(None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--keyframe", "0:a.png", "--keyframe", "4:b.png"],
            "keyframe: is given twice; write all in one, with",
        ),
        (["--references", "a.png", "--references", "b.png"], "references: is given twice; write all in one"),
        (["--image", "a.png", "--image", "a.png"], "image: is given twice; give it once"),
        (["--camera=pan left", "--camera=zoom in"], "camera: is given twice"),
    ],
)
def test_what_a_film_starts_from_is_given_once(arguments, message, command):
    code, _, err = command("generate", "x", *arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"ea-app: error: {message}")


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("image", "pipe"),
        ("last-image", "pipe"),
        ("clip-image", "pipe"),
        ("keyframe", "0:pipe"),
        ("video", "pipe"),
        ("control", "pipe"),
        ("reference", "pipe"),
        ("camera", "pipe"),
        ("trajectory", "pipe"),
        ("lora", "pipe"),
        ("motion-module", "pipe"),
    ],
)
def test_a_pipe_is_no_file(option, given, command, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    code, _, err = command("generate", "x", f"--{option}", given, "--frames", "5")
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith(f"ea-app: error: {option}: pipe is n")


def test_pipes_of_other_options_are_no_files_either(command, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    signal = ["--control-from", "pipe", "--control", "canny"]
    code, _, err = command("generate", "x", *signal)
    assert (code, err) == (2, "ea-app: error: control-from: pipe is no file\n")
    code, _, err = command("generate", "x", "--references", "pipe", "--mask-strategy", "0")
    assert (code, err) == (2, "ea-app: error: references: pipe is no file\n")
    code, _, err = command("lora", "inspect", "pipe")
    assert (code, err) == (2, "ea-app: error: file: pipe is neither a file nor a folder\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "brackets within brackets, too deep to be read"),
        ("9" * 10_000, "a number with thousands of digits"),
    ],
)
def test_records_that_no_reader_can_hold(text, message, command, tmp_path):
    (tmp_path / "a.json").write_text(text)
    code, _, err = command("replay", "a.json")
    assert (code, err) == (2, f"ea-app: error: file: the record in a.json is broken: {message}\n")


def test_a_recorded_option_of_a_signal_that_is_too_large():
    entry = {"kind": "canny", "version": KINDS["canny"].version, "options": {"blur": 10**400}}
    with pytest.raises(InputError, match=r"^control: blur is 1000+\.\.\.; allowed: a number, 0"):
        Extraction.from_entry(entry, allow_pickle=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keyframe": {1.5: "a.png"}}, "^keyframe: must be NUMBER:FILE"),
        ({"keyframe": {0: np.zeros(3)}}, "^keyframe: must be a file name, got a ndarray"),
        ({"keyframe": 3}, "^keyframe: must be NUMBER:FILE.*; got 3$"),
        ({"image": np.zeros((32, 32, 3))}, "^image: must be a file name, got a ndarray$"),
        ({"references": 3}, "^references: must be file names.*, got 3$"),
        ({"references": [3]}, "^references: must be a file name, got 3$"),
        ({"frames": 10**5000}, "^frames: must be a whole number from .*, got a number that is too long$"),
        ({"frames": "9" * 5000}, r"^frames: must be a whole number from .*999\.\.\.$"),
    ],
)
def test_values_of_wrong_types(given, message):
    with pytest.raises(InputError, match=message):
        parse({"prompt": "x", **given})


def test_keyframes_are_read():
    for given in (
        "0:a.png,last:b, c.png",
        {0: "a.png", "last": "b, c.png"},
        {"0": Path("a.png"), -1: "b, c.png"},
    ):
        assert parse({"prompt": "x", "keyframe": given})["keyframe"] == {0: "a.png", -1: "b, c.png"}


def _request(**fields):
    return GenerationRequest(**{"prompt": "x", "height": 32, "width": 32, "num_frames": 9, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"conditions": (Frames(pixels=np.zeros((3, 32, 32))),)}, "^frames must be a tensor, got ndarray$"),
        ({"conditions": (Frames(pixels=None),)}, "^frames must be a tensor, got NoneType$"),
        ({"conditions": (Video(pixels=np.zeros(3)),)}, "^video must be a tensor, got ndarray$"),
        (
            {"conditions": Frames(pixels=torch.zeros(3, 32, 32))},
            "^conditions must be a tuple of",
        ),
        (
            {"conditions": (Frames(pixels=torch.zeros(3, 32, 32), at=-10),)},
            r"^frames must lie in frames 0 \.\.\. 8 of the clip, got -10$",
        ),
        ({"window_frames": 5, "window_prompts": "abc"}, "^window_prompts must be a tuple of texts, got str$"),
        (
            {"window_frames": 5, "window_prompts": ("a", " ")},
            "^window_prompts must be texts, and none",
        ),
    ],
)
def test_requests_of_wrong_types(fields, message):
    with pytest.raises(ValueError, match=message):
        _request(**fields).validate()


def test_a_mask_that_is_no_tensor():
    given = Video(pixels=torch.zeros(3, 9, 32, 32), mask=np.zeros((32, 32)))
    with pytest.raises(ValueError, match=r"^mask must be a tensor, got ndarray$"):
        _request(conditions=(given,)).validate()


def test_what_is_no_job():
    for check in (check_job, Engine.check):
        with pytest.raises(InputError, match=r"^job: must be a Job, .*, got str$"):
            check("x", "default")
    with pytest.raises(InputError, match=r"^job: must be a Job, .*, got str$"):
        Engine.generate(SimpleNamespace(model=None), "x")


@pytest.mark.parametrize(
    "name", ["references 7", "references -1", "references 01", "references ٠", "keyframe ٣"]
)
def test_numbers_of_recorded_inputs(name, command, tmp_path):
    entry = {"path": "a.png", "xxh3": "0" * 32}
    record = {
        "format": FORMAT,
        "request": {"prompt": "x", "width": 32, "height": 32, "num_frames": 5, "seed": 0},
        "model": {"name": "x", "fingerprint": "x"},
        "machine": {"device": "cpu", "dtype": "float32", "threads": 1},
        "frames": {"xxh3": "0" * 32},
        "inputs": {"references 0": entry, name: entry},
    }
    (tmp_path / "a.json").write_text(json.dumps(record))
    code, _, err = command("replay", "a.json")
    assert (code, err) == (2, f"ea-app: error: file: the record in a.json has a broken input {name!r}\n")


@pytest.mark.parametrize(
    ("fps", "rate", "notice"),
    [
        (24, 24, ()),
        (12.0000001, 12, ()),
        (240.0, 120, ("fps: 240 of the video is written as 120; whole numbers from 1 to 120 are",)),
        (0.5, 1, ("fps: 0.5 of the video is written as 1; whole numbers from 1 to 120 are",)),
        (24000 / 1001, 24, ("fps: 23.976 of the video is written as 24; whole numbers from 1 to 120 are",)),
    ],
)
def test_another_rate_than_the_video_has_is_said(fps, rate, notice):
    assert written_rate(fps) == (rate, notice)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "x", "--lora-unmatched", "skip"], "lora-unmatched: needs --lora"),
        (
            ["generate", "x", "--control-from", "a.mp4", "--control", "canny", "--control-options", " "],
            "control-options: must be NAME=VALUE, several with commas, got nothing",
        ),
        (["generate", "|1|a", "--loops", "2"], "prompt: character 1 (▸|1|a): texts for loops begin with |0|"),
        (
            ["generate", "|0|a|1|", "--loops", "2"],
            "prompt: character 8 (|0|a|1|▸): expected the text of a loop",
        ),
        (
            ["lora", "convert", "{lora}", "no/a.safetensors", "--format", "kohya"],
            "output: the folder no does not",
        ),
        (
            ["lora", "convert", "{lora}", "a.bin", "--format", "kohya"],
            "output: a.bin: must end with .safetensors",
        ),
        (["lora", "merge", "default", "{lora}", "no/model"], "output: the folder no does not exist"),
    ],
)
def test_options_that_do_not_go_together(arguments, message, command, tmp_path, tmp_path_factory):
    lora = tmp_path_factory.mktemp("lora") / "a.safetensors"
    names = {"lora_A": (2, 8), "lora_B": (8, 2)}
    save_file({f"transformer_blocks.0.attn1.to_q.{name}.weight": torch.ones(*shape)
               for name, shape in names.items()}, lora)  # fmt: skip
    code, out, err = command(*(word.replace("{lora}", str(lora)) for word in arguments))
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(f"ea-app: error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_a_recorded_field_that_no_request_has(tmp_path):
    job = Job(fields={"prompt": "x", "extra": 1})
    with pytest.raises(InputError, match=r"^request: field 'extra' is unknown; known: clip_apply_ratio, "):
        to_request(job)
