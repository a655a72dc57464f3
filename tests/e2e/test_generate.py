"""From the command line to files and back, in every mode, with a tiny random model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ea_app.api.record import read_record
from ea_data.media import probe, read_frames, read_image, read_sequence, read_video

MODES = {
    "text_to_video": [],
    "text_to_image": ["--frames", "1"],
    "first frame": ["--image", "{media}/square.png"],
    "last frame": ["--last-image", "{media}/square.png"],
    "both ends": ["--image", "{media}/square.png", "--last-image", "{media}/wide.png"],
    "video": ["--video", "{media}/clip.mp4"],
    "video with strength": ["--video", "{media}/clip.mp4", "--strength", "0.6", "--frames", "7"],
    "mask": ["--video", "{media}/clip.mp4", "--mask", "{media}/mask.png"],
    "mask with strength": ["--video", "{media}/clip.mp4", "--mask", "{media}/mask.mp4", "--strength", "0.8"],
}


def _frames_hash(path):
    return json.loads(path.with_name(path.name + ".json").read_text())["frames"]["xxh3"]


@pytest.mark.parametrize("name", MODES)
def test_every_mode_makes_a_file_and_makes_it_again(name, command, media, tmp_path):
    given = [argument.replace("{media}", str(media)) for argument in MODES[name]]
    output = tmp_path / ("out.png" if name == "text_to_image" else "out.mp4")
    code, out, _ = command("generate", "a red circle", *given, "--seed", "5", "--output", output)
    assert code == 0
    count = {"text_to_image": 1, "video with strength": 7}.get(name, 5)
    assert read_frames(output).shape == (count, 32, 32, 3)
    frames = "1 frame" if count == 1 else f"{count} frames"
    assert out.startswith(f"wrote {output}: 32x32, {frames}, ")
    assert out.rstrip().endswith("seed 5")

    code, out, _ = command("replay", output)
    assert code == 0
    assert out.splitlines()[-1] == "identical frames"
    again = tmp_path / f"out-replay{output.suffix}"
    assert _frames_hash(again) == _frames_hash(output)
    assert np.array_equal(read_frames(again), read_frames(output))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{path.name}{end}" for path in (output, again) for end in ("", ".json")
    )


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".webp", ".png", ".zip"])
def test_every_format_carries_the_whole_request(suffix, command, tmp_path, tiny_model):
    output = tmp_path / f"红色{suffix}"
    frames = ["--frames", "1"] if suffix == ".png" else ["--frames", "6"]
    given = ["--negative", "blur", "--size", "48x32", "--steps", "3", "--guidance", "2.5", "--fps", "12"]
    code, _, _ = command("generate", "一个“红色”的圆", *frames, *given, "--seed", "9", "--output", output)
    assert code == 0
    record = read_record(output)
    assert record["request"] == {
        "prompt": "一个“红色”的圆", "negative_prompt": "blur", "height": 32, "width": 48,
        "num_frames": int(frames[1]), "num_steps": 3, "timesteps": None, "guidance_scale": 2.5,
        "guidance_rescale": 0.0, "seed": 9, "strength": 1.0, "noise_aug_strength": 0.0563, "fps": 12,
        "sampler": None, "clip_apply_ratio": 0.4,
        "window_frames": None, "overlap_frames": None, "window_prompts": [], "join": "latents",
        "teacache_threshold": None, "teacache_start": 1, "teacache_curve": "released",
    }  # fmt: skip
    assert record["model"]["name"] == str(tiny_model)
    assert record["machine"]["device"] == "cpu"
    assert {"text", "conditions", "denoise", "decode", "total"} <= set(record["timings"])
    beside = json.loads((tmp_path / f"红色{suffix}.json").read_text(encoding="utf-8"))
    beside["timings"].pop("write")  # not known yet while the file is written
    assert beside == record
    if suffix in (".webp", ".png", ".zip"):  # lossless
        import torch

        from ea_app.api.result import hash_frames

        read = read_sequence if suffix == ".zip" else read_frames
        assert hash_frames(torch.from_numpy(read(output))) == record["frames"]["xxh3"]
    code, out, _ = command("replay", f"{output}.json", "--output", tmp_path / "again.webp", "--device", "cpu")
    assert (code, out.splitlines()[-1]) == (0, "identical frames")


def test_the_mp4_plays_in_browsers(command, tmp_path):
    import av

    command("generate", "x", "--output", "out.mp4", "--seed", "1")
    with av.open("out.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_the_first_frame_is_asked_for_and_another_shape_is_said(command, media):
    code, _, err = command(
        "generate", "x", "--image", media / "wide.png", "--seed", "1", "--output", "out.mp4"
    )
    assert code == 0
    assert err.splitlines()[0] == (
        "image: 80x40 has another shape than 32x32; the middle 40x40 pixels are used"
    )


def test_inputs_reach_the_model(command, media, tmp_path):
    for name, given in {
        "text": [],
        "image": ["--image", media / "square.png"],
        "last": ["--last-image", media / "square.png"],
        "video": ["--video", media / "clip.mp4", "--strength", "0.5"],
        "mask": ["--video", media / "clip.mp4", "--mask", media / "mask.png"],
    }.items():
        assert command("generate", "x", *given, "--seed", "1", "--output", f"{name}.mp4", "--quiet")[0] == 0
    hashes = {path.name: _frames_hash(path) for path in tmp_path.glob("*.mp4")}
    assert len(set(hashes.values())) == 5, hashes


def test_a_video_gives_its_rate_and_a_seed_is_drawn(command, media):
    code, out, err = command("generate", "x", "--video", media / "clip.mp4", "--output", "out.mp4")
    assert code == 0
    seed = read_record_seed("out.mp4")
    assert f"seed: {seed} (drawn; --seed {seed} makes this again)" in err
    assert out.rstrip().endswith(f"seed {seed}")
    assert round(read_video("out.mp4").fps) == 12
    assert probe("out.mp4").frames == 5


def read_record_seed(name):
    from pathlib import Path

    return read_record(Path(name))["request"]["seed"]


def test_a_sampler_can_be_chosen_and_is_kept(command, tmp_path):
    assert command("generate", "x", "--seed", "1", "--output", "a.webp")[0] == 0
    assert command("generate", "x", "--seed", "1", "--output", "b.webp", "--sampler", "Flow_DPM++")[0] == 0
    assert _frames_hash(tmp_path / "a.webp") != _frames_hash(tmp_path / "b.webp")
    assert read_record(tmp_path / "b.webp")["request"]["sampler"] == "Flow_DPM++"
    code, out, _ = command("replay", "b.webp")
    assert (code, out.splitlines()[-1]) == (0, "identical frames")


def test_the_default_output(command, tmp_path):
    assert command("generate", "x", "--quiet") == (0, "", "")
    assert command("generate", "x", "--frames", "1", "--quiet") == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.mp4", "out.mp4.json", "out.png", "out.png.json",
    ]  # fmt: skip
    assert read_image("out.png").shape == (32, 32, 3)


def test_the_same_request_twice_and_another_seed(command, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        command("generate", "x", "--seed", seed, "--output", f"{name}.webp")
    assert _frames_hash(tmp_path / "a.webp") == _frames_hash(tmp_path / "b.webp")
    assert _frames_hash(tmp_path / "a.webp") != _frames_hash(tmp_path / "c.webp")


def test_replay_refuses_changed_and_missing_inputs(command, tmp_path, media):
    picture = tmp_path / "in.png"
    picture.write_bytes((media / "square.png").read_bytes())
    command("generate", "x", "--image", "in.png", "--seed", "1", "--output", "out.mp4")
    picture.write_bytes((media / "wide.png").read_bytes())
    code, out, err = command("replay", "out.mp4")
    assert (code, out) == (2, "")
    assert err.startswith(f"ea-app: error: image: {picture} has changed since")
    picture.unlink()
    assert command("replay", "out.mp4")[2] == f"ea-app: error: image: {picture} does not exist\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "out.mp4.json"]


def test_replay_finds_inputs_beside_a_moved_file(command, tmp_path, media):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "in.png").write_bytes((media / "square.png").read_bytes())
    command("generate", "x", "--image", "a/in.png", "--seed", "1", "--output", "a/out.mp4")
    (tmp_path / "a").rename(tmp_path / "b")
    code, out, _ = command("replay", "b/out.mp4", "--output", "again.mp4")
    assert (code, out.splitlines()[-1]) == (0, "identical frames")


def test_replay_says_when_the_model_or_the_frames_differ(command, tmp_path, tiny_model, media):
    import shutil

    model = shutil.copytree(tiny_model, tmp_path / "model")
    command("generate", "x", "--seed", "1", "--output", "out.mp4", "--model", model)
    record = json.loads((tmp_path / "out.mp4.json").read_text())
    record["frames"]["xxh3"] = "0" * 32
    record["versions"]["torch"] = "1.0"
    (tmp_path / "edited.json").write_text(json.dumps(record))
    code, _, err = command("replay", "edited.json", "--output", "again.mp4")
    assert code == 1
    assert "the frames differ from the recorded ones; torch was 1.0, is " in err
    (model / "scheduler" / "note.txt").write_text("changed")
    code, _, err = command("replay", "out.mp4")
    assert code == 2
    assert err.startswith("ea-app: error: model: ")
    code, _, err = command("replay", "out.mp4", "--model", tiny_model)
    assert code == 0
    record["versions"]["torch"] = json.loads((tmp_path / "out.mp4.json").read_text())["versions"]["torch"]
    (tmp_path / "edited.json").write_text(json.dumps(record))
    code, _, err = command("replay", "edited.json", "--model", model, "--output", "other.mp4")
    assert code == 1
    assert f"the frames differ from the recorded ones; the model {model} has other files\n" in err
    (tmp_path / "model").rename(tmp_path / "other")
    code, _, err = command("replay", "edited.json", "--model", "other", "--output", "other.mp4")
    assert code == 1
    assert f"the frames differ from the recorded ones; the model {model} is now {tmp_path / 'other'}\n" in err


def test_models_and_doctor(command, tiny_model):
    code, out, _ = command("models")
    assert code == 0
    assert "--model also takes a model directory" in out
    code, out, _ = command("doctor", "--model", tiny_model)
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["ok", "versions"], ["ok", "device"], ["ok", "attention"], ["ok", "norms"], ["ok", "qfloat8"],
        ["ok", "graphs"], ["ok", "encoders"], ["ok", "model"],
    ]  # fmt: skip
    code, out, _ = command("doctor", "--model", "none", "--quiet")
    assert code == 1
    assert out.startswith("FAIL")
    assert "unknown model 'none'" in out


def test_version(capsys):
    from importlib.metadata import version

    from ea_app.cli import main

    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"ea-app {version('ea-app')}\n"


def test_git_sees_no_trace_of_a_run(command, tmp_path):
    """A result in a folder leaves no hidden files."""
    command("generate", "x", "--output", "out.gif", "--seed", "1")
    listed = subprocess.run(["ls", "-A"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert listed.split() == ["out.gif", "out.gif.json"]


def test_what_a_job_reads_is_not_written_over(command, media, tmp_path):
    import shutil

    clip = Path(shutil.copy(media / "clip.mp4", tmp_path / "clip.mp4"))
    before = clip.read_bytes()
    code, out, err = command("generate", "x", "--video", clip, "--strength", "0.5", "--output", clip)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"ea-app: error: output: {clip} would replace {clip}, which the job reads")
    assert clip.read_bytes() == before
    assert command("generate", "x", "--seed", "1", "--output", "a.mp4")[0] == 0
    code, _, err = command("replay", "a.mp4", "--output", "a.mp4")
    assert (code, err.count("\n")) == (2, 1)
    assert "would replace" in err
