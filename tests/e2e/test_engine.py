"""The engine from Python."""

from __future__ import annotations

import threading

import pytest
import torch

import ea_app
from ea_app import Cancelled, CancelToken, Engine, GenerationRequest, InputError
from ea_dit.pipelines import Frames


@pytest.fixture(scope="module")
def engine(tiny_model):
    return Engine.load(str(tiny_model), device="cpu")


def test_a_job_from_options(engine, tmp_path):
    result = engine.generate(engine.job("a red circle", seed=3, frames=5), output=tmp_path / "out.mp4")
    assert result.frames.shape == (5, 32, 32, 3)
    assert result.frames.dtype == torch.uint8
    assert result.path == tmp_path / "out.mp4"
    assert result.path.is_file()
    assert (result.seed, result.request.prompt) == (3, "a red circle")
    assert result.timings["total"] > 0
    assert result.frames_hash == result.record["frames"]["xxh3"]


def test_a_request_gives_what_the_same_job_gives(engine):
    request = GenerationRequest(
        prompt="x", height=32, width=32, num_frames=5, num_steps=2, guidance_scale=3.0, seed=4
    )
    result = engine.generate(request)
    assert result.path is None
    assert result.frames_hash == engine.generate(engine.job("x", seed=4)).frames_hash


def test_tensors_are_recorded_as_coming_from_no_file(engine):
    picture = torch.zeros(3, 32, 32, dtype=torch.uint8)
    frames = Frames(pixels=picture, at=2)
    request = GenerationRequest(
        prompt="x", height=32, width=32, num_frames=5, num_steps=1, conditions=(frames,)
    )
    assert engine.generate(request).record["inputs"] == {"frames": None}


def test_progress_is_reported_in_order(engine):
    seen = []
    engine.generate(engine.job("x", seed=1, steps=3), on_progress=lambda *step: seen.append(step))
    assert seen == [
        ("text", 0, 1), ("text", 1, 1), ("conditions", 0, 1), ("conditions", 1, 1),
        ("denoise", 0, 3), ("denoise", 1, 3), ("denoise", 2, 3), ("denoise", 3, 3),
        ("decode", 0, 1), ("decode", 1, 1),
    ]  # fmt: skip


def test_a_job_can_be_cancelled_from_another_thread(engine, tmp_path):
    token = CancelToken()

    def cancel_soon(stage, step, _total):
        if (stage, step) == ("denoise", 2):
            thread = threading.Thread(target=token.cancel)
            thread.start()
            thread.join()

    job = engine.job("x", seed=1, steps=50)
    with pytest.raises(Cancelled, match="stopped after 2 of 50 steps"):
        engine.generate(job, output=tmp_path / "out.mp4", on_progress=cancel_soon, cancel=token)
    assert token.cancelled
    assert list(tmp_path.iterdir()) == []


def test_description(engine, tiny_model):
    described = engine.describe()
    assert described["directory"] == str(tiny_model)
    assert "image_to_video" in described["modes"]
    assert described["defaults"] == {"size": [32, 32], "frames": 5, "steps": 2, "guidance": 3.0, "fps": 8}
    assert "multiples of 16" in described["options"]["size"]
    assert described["machine"]["dtype"] == "float32"


def test_mistakes_name_their_field(engine, tmp_path):
    with pytest.raises(InputError, match=r"^window: must be from 2 to 9"):
        engine.job("x", window=50)
    with pytest.raises(InputError, match=r"^stepz: unknown option"):
        engine.job("x", stepz=1)
    with pytest.raises(InputError, match=r"^height: must be a multiple of 16"):
        engine.generate(GenerationRequest(prompt="x", height=20, width=32))
    with pytest.raises(InputError, match=r"^output: must end with"):
        engine.generate(engine.job("x"), output=tmp_path / "a.txt")
    with pytest.raises(InputError, match=r"^device: "):
        Engine.load(engine.model, device="abacus")
    with pytest.raises(InputError, match=r"^prompt: is 257 bytes of UTF-8 long"):
        engine.generate(GenerationRequest(prompt="a" * 257, height=32, width=32, num_frames=5))


def test_other_number_types(tiny_model, tmp_path):
    engine = Engine.load(str(tiny_model), device="cpu", dtype="bfloat16")
    result = engine.generate(engine.job("x", seed=1), output=tmp_path / "out.gif")
    assert result.record["machine"]["dtype"] == "bfloat16"


def test_names_at_the_root():
    assert set(ea_app.__all__) <= set(dir(ea_app))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = ea_app.Nothing
