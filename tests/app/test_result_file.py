"""The file of a result is written while frames are decoded, and is the file that would be written at once."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from ea_app.api import Engine, result_file
from ea_app.api.job import CancelToken
from ea_app.api.result_file import ResultFile
from ea_app.options import InputError
from ea_data.media import open_writer, read_metadata, read_sequence, write_video
from ea_data.media.video_sink import VideoSink
from ea_dit.pipelines import Cancelled
from ea_dit.pipelines.pipeline import to_uint8

NAMES = ["out.mp4", "out.webm", "out.gif", "out.webp", "out.zip"]
SECONDS = 10.0
FRAMES = torch.rand(1, 3, 9, 32, 48, generator=torch.Generator().manual_seed(0))
PORTIONS = FRAMES.split((1, 4, 4), dim=2)


@pytest.fixture(scope="module")
def engine(tiny_model):
    return Engine.load(str(tiny_model), device="cpu", dtype="float32")


@pytest.fixture
def repeatable(monkeypatch):
    """Encoders that make the same bytes every time."""
    monkeypatch.setattr(result_file, "open_writer", functools.partial(open_writer, repeatable=True))


def record_of():
    return {"request": {"fps": 8}, "inputs": {}, "timings": {}}


def writers():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ea-writer")]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert not writers()


@pytest.mark.usefixtures("repeatable")
@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_file_that_would_be_written_at_once(name, tmp_path):
    record = record_of()
    with ResultFile(tmp_path / name, record) as file:
        frames = file.collect(iter(PORTIONS))
        record["frames"] = "known in the end"
        file.finish()
    assert torch.equal(frames, to_uint8(FRAMES)[0])
    beside = json.loads((tmp_path / f"{name}.json").read_text())
    seconds = beside["timings"].pop("write")
    assert 0 < seconds == record["timings"].pop("write")
    assert beside == record
    text = read_metadata(tmp_path / name)
    assert json.loads(text) == record
    whole = write_video(tmp_path / f"whole-{name}", frames.numpy(), fps=8, metadata=text, repeatable=True)
    assert (tmp_path / name).read_bytes() == whole.read_bytes()
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.usefixtures("repeatable")
def test_a_job_writes_what_it_returns(engine, tmp_path, monkeypatch):
    """Its frames come slice by slice, and file, record and hash are those of all at once."""
    portions = []
    collect = ResultFile.collect
    monkeypatch.setattr(
        ResultFile,
        "collect",
        lambda self, decoded: collect(self, (portions.append(part.shape[2]) or part for part in decoded)),
    )
    job = engine.job("a red circle", seed=1, frames=9, steps=1)
    result = engine.generate(job, output=tmp_path / "out.mp4")
    assert len(portions) > 1
    assert sum(portions) == len(result.frames) == 9
    text = read_metadata(result.path)
    whole = write_video(
        tmp_path / "whole.mp4", result.frames.numpy(), fps=result.request.fps, metadata=text, repeatable=True
    )
    assert result.path.read_bytes() == whole.read_bytes()
    assert json.loads(text)["frames"] == result.record["frames"]
    plain = engine.generate(job)
    assert (plain.path, plain.frames_hash) == (None, result.frames_hash)
    assert "write" not in plain.record["timings"]


def test_frames_are_encoded_while_the_next_ones_are_decoded(tmp_path, monkeypatch):
    encoded, add = threading.Event(), VideoSink.add

    def told(self, picture):
        add(self, picture)
        encoded.set()

    monkeypatch.setattr(VideoSink, "add", told)

    def decoded():
        yield PORTIONS[0]
        assert encoded.wait(SECONDS), "a decoder that is at work"
        yield from PORTIONS[1:]

    with ResultFile(tmp_path / "out.mp4", record_of()) as file:
        file.collect(decoded())
        file.finish()
    assert (tmp_path / "out.mp4").is_file()


@pytest.mark.parametrize("fails_at", [0, 1, 8])
def test_an_encoder_that_fails_stops_the_decoder(fails_at, tmp_path, monkeypatch):
    (tmp_path / "out.mp4").write_text("older")
    add, count = VideoSink.add, []

    def fail(self, picture):
        count.append(picture)
        if len(count) > fails_at:
            raise OSError(28, "No space left on device")
        add(self, picture)

    monkeypatch.setattr(VideoSink, "add", fail)
    taken = []

    def decoded():
        for frame in FRAMES.split(1, dim=2):
            taken.append(frame)
            yield frame

    def run():
        with ResultFile(tmp_path / "out.mp4", record_of()) as file:
            file.collect(decoded())
            file.finish()

    with pytest.raises(
        InputError, match=r"^output: cannot write .*/out\.mp4: No space left on device$"
    ) as told:
        run()
    assert str(tmp_path / "out.mp4") in str(told.value)
    assert len(taken) <= fails_at + 5
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def test_a_run_that_is_not_finished_leaves_what_was_there(tmp_path):
    (tmp_path / "out.mp4").write_text("older")
    with ResultFile(tmp_path / "out.mp4", record_of()) as file:
        file.collect(iter(PORTIONS))
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.mp4"]
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


@pytest.mark.parametrize("how", ["cancel", "broken"])
def test_a_job_that_is_stopped_while_it_decodes_leaves_nothing(how, engine, tmp_path):
    (tmp_path / "out.mp4").write_text("older")
    token, passes = CancelToken(), []

    def stop(*_):
        passes.append(writers())
        if len(passes) == 2:
            if how == "broken":
                raise RuntimeError("broken")
            token.cancel()

    handle = engine.pipeline.components.vae.decoder.conv_out.register_forward_hook(stop)
    job = engine.job("x", seed=1, frames=17, steps=1)
    with pytest.raises(Cancelled if how == "cancel" else RuntimeError):
        engine.generate(job, output=tmp_path / "out.mp4", cancel=token)
    handle.remove()
    assert [bool(threads) for threads in passes] == [False, True], "the second slice ran beside the writer"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older"]


def test_a_process_that_is_killed_leaves_the_older_file(tmp_path):
    """While frames come, and while the file is written."""
    script = """
import os, signal, sys
from pathlib import Path
import torch
from ea_app.api import result_file
place, path = sys.argv[1], Path(sys.argv[2])
def end(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def decoded():
    yield torch.zeros(1, 3, 1, 32, 32)
    yield torch.zeros(1, 3, 4, 32, 32)
    if place == "decoding":
        end()
if place == "writing":
    from ea_data.media.video_sink import VideoSink
    VideoSink._verify = end
with result_file.ResultFile(path, {"request": {"fps": 8}, "inputs": {}, "timings": {}}) as file:
    file.collect(decoded())
    file.finish()
"""
    places = {place: tmp_path / f"{place}.mp4" for place in ("decoding", "writing")}
    for target in places.values():
        target.write_text("older")
    command = [sys.executable, "-c", script]
    running = {place: subprocess.Popen([*command, place, target]) for place, target in places.items()}
    for place, target in places.items():
        assert running[place].wait(60) == -signal.SIGKILL
        assert target.read_text() == "older"
        assert not target.with_suffix(".mp4.json").exists()
        # What is left is hidden; nothing in it before the record is known.
        (left,) = tmp_path.glob(f".{place}.mp4.*")
        assert place == "writing" or not list(left.iterdir())


def test_pictures_of_a_job_come_whole(engine, tmp_path):
    job = engine.job("x", seed=1, frames=9, steps=1)
    result = engine.generate(job, output=tmp_path / "out.zip")
    assert np.array_equal(read_sequence(result.path), result.frames.numpy())
    one = engine.generate(engine.job("x", seed=1, frames=1, steps=1), output=tmp_path / "out.png")
    assert json.loads(read_metadata(one.path))["frames"]["xxh3"] == one.frames_hash
