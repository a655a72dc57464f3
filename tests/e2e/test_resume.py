"""Jobs that keep themselves on disk: they go on where they were, and their latents can be decoded again."""

from __future__ import annotations

import io
import json
import shutil
import threading
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from ea_app import Cancelled, CancelToken, Engine, GenerationRequest, InputError, Progress, Resume
from ea_app.api import checkpoint, decode_latents
from ea_app.api.interruption import stopping
from ea_app.api.latents import STEP_FILE, read_state
from ea_app.api.preview import Previewer, fit_latent_rgb
from ea_dit.pipelines import Frames


@pytest.fixture(scope="module")
def engine(tiny_model):
    return Engine.load(str(tiny_model), device="cpu")


def kept(folder):
    """Every step is kept."""
    return Resume(folder=folder, seconds=0.0)


def stop_at(engine, job, folder, count, **options):
    """Run a job and stop it after so many steps."""
    token = CancelToken()

    def watch(stage, step, _total):
        if stage == "denoise" and step == count:
            token.cancel()

    with pytest.raises(Cancelled):
        engine.generate(job, resume=kept(folder), on_progress=watch, cancel=token, **options)


@pytest.mark.parametrize("options", [{}, {"sampler": "Flow_Unipc"}, {"frames": 13, "window": 9}])
def test_a_stopped_job_goes_on(engine, tmp_path, options):
    job = engine.job("a red circle", seed=3, steps=6, **options)
    whole = engine.generate(job)
    for count in (1, 4, 8) if "window" in options else (1, 4):
        folder, steps = tmp_path / str(count), []
        stop_at(engine, job, folder, count)
        result = engine.generate(
            job, resume=kept(folder), on_progress=lambda *step, to=steps: to.append(step)
        )
        assert result.frames_hash == whole.frames_hash
        assert count in [step for stage, step, _ in steps if stage == "denoise"]
        assert not (folder / STEP_FILE).exists()


@pytest.mark.parametrize("options", [{}, {"sampler": "Flow_DPM++", "frames": 13, "window": 9}])
def test_a_stopped_job_leaves_out_the_same_steps(engine, tmp_path, options):
    table = (999, 998, 997, 990, 988, 986)
    job = engine.job(
        "a red circle", seed=3, timesteps=table, teacache=0.5, teacache_curve="identity", **options
    )
    events = []
    whole = engine.generate(job, on_event=events.append)
    skipped = whole.record["teacache"]["skipped"]
    assert all(skipped)
    count = sum(map(len, skipped))
    assert [event.skipped for event in events if event.stage == "denoise"][-1] == count
    total = 6 * len(skipped)
    told = f"teacache: the blocks of {count} of {total} steps were left out, an approximation"
    assert whole.notices == (told,)
    for stop in range(1, total):
        folder = tmp_path / str(stop)
        stop_at(engine, job, folder, stop)
        again = engine.generate(job, resume=kept(folder))
        assert again.frames_hash == whole.frames_hash
        assert again.record["teacache"]["skipped"] == skipped
        assert again.notices == (told,)


def test_what_is_given_as_tensors_counts(engine, tmp_path):
    def request(value):
        frames = Frames(pixels=torch.full((3, 32, 32), value, dtype=torch.uint8))
        return GenerationRequest(
            prompt="x", height=32, width=32, num_frames=5, num_steps=4, conditions=(frames,)
        )

    stop_at(engine, request(10), tmp_path, 2)
    with pytest.raises(InputError, match=r"^resume-dir: .* holds another job; empty it or name another"):
        engine.generate(request(11), resume=kept(tmp_path))
    again = engine.generate(request(10), resume=kept(tmp_path))
    assert again.frames_hash == engine.generate(request(10)).frames_hash


def test_a_damaged_step_is_passed_over(engine, tmp_path):
    job = engine.job("x", seed=1, steps=4)
    whole = engine.generate(job)
    stop_at(engine, job, tmp_path, 2)
    step = tmp_path / STEP_FILE
    good = step.read_bytes()
    for spoiled in (good[:-9], good[:-1] + bytes([good[-1] ^ 1]), b"", b"no tensors" * 9):
        step.write_bytes(spoiled)
        result = engine.generate(job, resume=kept(tmp_path))
        assert result.frames_hash == whole.frames_hash
        assert len(result.notices) == 1
        assert result.notices[0].startswith("resume-dir: ")
        assert result.notices[0].endswith("; it is passed over")
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()


def test_a_full_disk_costs_steps_but_not_the_job(engine, tmp_path, monkeypatch):
    job = engine.job("x", seed=1, steps=4)
    write = checkpoint.write_state

    def full(path, kept):
        if not kept.state.finished:
            raise OSError(28, "No space left on device")
        write(path, kept)

    monkeypatch.setattr(checkpoint, "write_state", full)
    assert engine.generate(job, resume=kept(tmp_path)).frames.shape[0] == 5

    def fuller(path, kept):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_state", fuller)
    with pytest.raises(InputError, match=r"^resume-dir: cannot write latents in .*: No space left on device"):
        engine.generate(engine.job("y", seed=1), resume=kept(tmp_path / "other"))


@pytest.mark.parametrize("options", [{}, {"frames": 13, "window": 9}])
def test_latents_are_decoded_again(engine, tmp_path, options):
    result = engine.generate(engine.job("一个红色的圆", seed=3, **options), resume=kept(tmp_path / "job"))
    files = sorted((tmp_path / "job").iterdir())
    assert [file.name for file in files] == [f"latents-{n:04d}.safetensors" for n in range(len(files))]
    decoded = decode_latents(files[-1], output=tmp_path / "again.gif")
    assert decoded.frames_hash == result.frames_hash
    assert decoded.record["request"] == json.loads(json.dumps(result.record["request"]))
    assert decoded.record["frames"] == result.record["frames"]
    assert decoded.timings["decode"] > 0


def test_the_command_decodes_what_a_command_kept_and_replays_it(command, tmp_path):
    code, _, err = command(
        "generate", "a red circle", "--seed", 5, "--output", "a.mp4", "--resume-dir", "kept"
    )
    assert code == 0, err
    code, out, err = command("decode", "kept/latents-0000.safetensors", "--output", "b.mp4")
    assert code == 0, err
    assert out.startswith("wrote b.mp4: 32x32, 5 frames")
    hashes = [json.loads((tmp_path / f"{name}.mp4.json").read_text())["frames"]["xxh3"] for name in "ab"]
    assert hashes[0] == hashes[1]
    code, out, err = command("replay", "b.mp4")
    assert (code, out.splitlines()[-1]) == (0, "identical frames"), err


def test_what_cannot_be_decoded_is_one_line(command, engine, tmp_path):
    job = engine.job("x", seed=1, steps=4)
    stop_at(engine, job, tmp_path / "a", 2)
    engine.generate(engine.job("x", seed=1, frames=13, window=9), resume=kept(tmp_path / "b"))
    engine.generate(engine.job("y", seed=1, frames=13, window=9), resume=kept(tmp_path / "c"))
    shutil.copy(tmp_path / "c" / "latents-0001.safetensors", tmp_path / "b" / "latents-0001.safetensors")
    (tmp_path / "text.safetensors").write_text("no")
    wrong = {
        "none.safetensors": "none.safetensors does not exist",
        ".": ". is no file",
        "text.safetensors": "text.safetensors: is not a safetensors file",
        "a/step.safetensors": "a/step.safetensors is in the middle of denoising",
        "b/latents-0000.safetensors": "are of different jobs",
    }
    for given, message in wrong.items():
        code, out, err = command("decode", given)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("ea-app: error: latents: ")
        assert message in err
    code, _, err = command("decode", "c/latents-0000.safetensors", "--model", "default")
    assert code == 2
    assert "model: default is not the model that made these latents" in err


def test_events_have_a_clock_and_previews(tiny_model, tmp_path):
    engine = Engine.load(str(tiny_model), device="cpu")
    channels = engine.pipeline.components.vae.config.latent_channels
    rows = (*[(0.1, 0.0, -0.1)] * channels, (0.5, 0.5, 0.5))
    object.__setattr__(engine.model.info, "latent_rgb", rows)
    seen: list[Progress] = []
    engine.generate(engine.job("x", seed=1, steps=4), output=tmp_path / "a.mp4", on_event=seen.append)
    assert list(dict.fromkeys(event.stage for event in seen)) == [
        "text", "conditions", "denoise", "decode", "save",
    ]  # fmt: skip
    steps = [event for event in seen if event.stage == "denoise"]
    assert [(event.step, event.total) for event in steps] == [(n, 4) for n in range(5)]
    assert steps[0].remaining is None
    assert steps[-1].remaining == 0
    assert all(one.elapsed <= other.elapsed for one, other in pairwise(seen))
    pictures = [event.preview for event in seen if event.preview]
    assert pictures
    assert max(Image.open(io.BytesIO(pictures[0])).size) == 256


def test_a_map_that_does_not_fit_shows_nothing():
    latents = torch.zeros(1, 4, 2, 3, 5)
    assert Previewer([(0.0, 0.0, 0.0)] * 4).picture(latents) is None
    previewer = Previewer([(0.0, 0.0, 0.0)] * 4 + [(1.0, 0.0, 0.5)])
    picture = np.asarray(Image.open(io.BytesIO(previewer.picture(latents))))
    assert picture.shape == (154, 256, 3)
    assert np.abs(picture.astype(int) - [255, 0, 128]).max() < 8
    assert previewer.picture(latents) is None  # too soon


def test_the_map_is_fitted(engine):
    clips = [torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8) for _ in range(4)]
    vae = engine.pipeline.components.vae
    fitted = fit_latent_rgb(vae, clips)
    assert len(fitted) == vae.config.latent_channels + 1
    # Noise has no colours that last: what remains is its mean.
    assert all(abs(value - 0.5) < 0.15 for value in fitted[-1])


def test_the_engine_can_be_cancelled(engine):
    assert engine.cancel() is False

    def stop(stage, step, _total):
        if (stage, step) == ("denoise", 1):
            thread = threading.Thread(target=engine.cancel)
            thread.start()
            thread.join()

    with pytest.raises(Cancelled, match="stopped after 1 of 9 steps"):
        engine.generate(engine.job("x", seed=1, steps=9), on_progress=stop)


def test_a_state_says_what_it_is(engine, tmp_path):
    engine.generate(engine.job("x", seed=1), resume=kept(tmp_path))
    found = read_state(tmp_path / "latents-0000.safetensors")
    assert found.record["request"]["prompt"] == "x"
    assert found.record["model"]["fingerprint"] == engine.model.fingerprint()
    assert (found.state.finished, found.state.window, found.state.windows) == (True, 0, 1)


@pytest.mark.parametrize("stage", ["text", "decode"])
def test_a_cancel_reaches_into_a_step(engine, tmp_path, stage):
    token = CancelToken()

    def watch(now, step, _total):
        if (now, step) == (stage, 0):
            token.cancel()

    job = engine.job("x", seed=1)
    with pytest.raises(Cancelled, match="stopped inside a step"):
        engine.generate(
            job, output=tmp_path / "a.mp4", on_progress=watch, cancel=token, resume=kept(tmp_path / "job")
        )
    assert not (tmp_path / "a.mp4").exists()
    names = [path.name for path in (tmp_path / "job").iterdir()]
    assert names == (["latents-0000.safetensors"] if stage == "decode" else [])
    assert engine.generate(job).frames.shape[0] == 5  # nothing of it is left


def test_a_cancel_reaches_the_last_moment(engine, tmp_path):
    token = CancelToken()

    def watch(now, step, _total):
        if (now, step) == ("decode", 1):
            token.cancel()

    with pytest.raises(Cancelled, match="stopped before stage 'save'"):
        engine.generate(engine.job("x", seed=1), output=tmp_path / "a.mp4", on_progress=watch, cancel=token)
    assert list(tmp_path.iterdir()) == []


def test_other_threads_are_not_stopped():
    layer, seen = torch.nn.Linear(2, 2), []
    with stopping(lambda: True):
        with pytest.raises(Cancelled):
            layer(torch.zeros(1, 2))
        thread = threading.Thread(target=lambda: seen.append(layer(torch.zeros(1, 2))))
        thread.start()
        thread.join()
    assert len(seen) == 1
    layer(torch.zeros(1, 2))
