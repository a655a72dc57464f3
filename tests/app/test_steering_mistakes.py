"""Wrong input to steering: one line that names the option or the file, exit code 2, nothing else printed."""

from __future__ import annotations

import os

import pytest

from ea_app.api.extraction import Extraction
from ea_app.cli.console import Console
from ea_app.options import InputError
from ea_data.control.kinds import KINDS


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
        (["--seed=1", "--seed=2"], "seed: is given twice"),
    ],
)
def test_an_option_is_given_once(arguments, message, command):
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
