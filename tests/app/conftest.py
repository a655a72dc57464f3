"""Fixtures of the app's tests: a tiny model and small input files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def _tiny_model_module():
    # Test folders are no packages, so a neighbour is loaded by its path.
    spec = importlib.util.spec_from_file_location("tiny_model", Path(__file__).with_name("tiny_model.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A complete model directory with random weights."""
    return _tiny_model_module().write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """Small input files: square.png, wide.png, clip.mp4 (9 frames), short.mp4 (3), mask.png, black.png."""
    import numpy as np
    from PIL import Image

    from ea_data.media import write_video
    from ea_data.synthetic import render, sample_scene

    folder = tmp_path_factory.mktemp("media")
    clip = render(sample_scene(0, 1), num_frames=9, height=32, width=32)
    write_video(folder / "clip.mp4", clip, fps=12)
    write_video(folder / "short.mp4", clip[:3], fps=12)
    Image.fromarray(clip[0]).save(folder / "square.png")
    wide = render(sample_scene(0, 2), num_frames=1, height=40, width=80)[0]
    Image.fromarray(wide).save(folder / "wide.png")
    mask = np.zeros((32, 32), dtype=np.uint8)
    Image.fromarray(mask).save(folder / "black.png")
    mask[:, :16] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    write_video(folder / "mask.mp4", np.repeat(np.repeat(mask[None, ..., None], 9, axis=0), 3, axis=3))
    (folder / "broken.png").write_bytes((folder / "square.png").read_bytes()[:60])
    (folder / "broken.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:900])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    return folder


@pytest.fixture
def command(tiny_model, tmp_path, monkeypatch, capsys):
    """Run `ea-app` in this process, in an empty folder, with the tiny model: (code, stdout, stderr)."""
    from ea_app.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        given = [str(argument) for argument in arguments]
        if given[:1] == ["generate"]:
            given += [] if "--model" in given else ["--model", str(tiny_model)]
            given += [] if "--device" in given else ["--device", "cpu"]
        code = main(given)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
