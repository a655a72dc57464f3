"""`ea-app diff`: which field explains that two results differ."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ea_data.media import write_video


@pytest.fixture
def made(command, tmp_path):
    """Makes a result by its options; returns its file."""

    def make(name, *options):
        given = ["--seed", "1", "--steps", "2", *options]
        code, _, err = command("generate", "a red circle", *given, "--output", tmp_path / name)
        assert code == 0, err
        return tmp_path / name

    return make


def _edit(path, change):
    """A copy of a result whose JSON says something else."""
    beside = path.with_name(f"{path.name}.json")
    record = json.loads(beside.read_text(encoding="utf-8"))
    change(record)
    copy = path.with_name(f"edited-{path.name}")
    copy.write_bytes(path.read_bytes())
    edited = copy.with_name(f"{copy.name}.json")
    edited.write_text(json.dumps(record), encoding="utf-8")
    return edited


def test_the_same_request_in_two_formats_is_identical(made, command):
    code, out, _ = command("diff", made("a.webm"), made("b.zip"))
    assert (code, out) == (0, "identical frames\n")


def test_timesteps_are_recorded_replayed_and_compared(command, tmp_path):
    files = []
    for name, given in (("a.webp", "--steps=2"), ("b.webp", "--timesteps=1000,400.5")):
        files.append(tmp_path / name)
        code, _, err = command("generate", "a red circle", "--seed=1", given, "--output", files[-1])
        assert code == 0, err
    record = json.loads((tmp_path / "b.webp.json").read_text(encoding="utf-8"))
    assert record["request"]["timesteps"] == [1000, 400.5]
    assert record["request"]["num_steps"] == 2
    code, out, _ = command("replay", files[1], "--output", tmp_path / "again.webp")
    assert code == 0
    assert "identical frames" in out
    code, out, _ = command("diff", *files)
    assert code == 1
    assert out.splitlines()[0] == "request.timesteps: not given -> [1000, 400.5]"
    # A record of a version that knew no timesteps.
    older = _edit(files[0], lambda found: found["request"].pop("timesteps"))
    assert command("diff", files[0], older)[:2] == (0, "identical frames\n")


def test_timesteps_that_the_model_cannot_visit_are_refused(command):
    code, _, err = command("generate", "a red circle", "--timesteps=1001,3")
    assert code == 2
    assert err.splitlines()[-1].endswith(
        "timesteps: must be above 0 and at most 1000 for this model, got 1001"
    )


def test_steps_that_are_left_out_are_told_recorded_and_replayed(command, tmp_path):
    """The tiny model has no released coefficients, and changes much unless steps are short."""
    given = ("a red circle", "--seed=1", "--timesteps", "999,997,995,993,991,989,987,985")
    given = (*given, "--teacache=0.5", "--resume-dir", tmp_path / "kept")
    code, _, err = command("generate", *given, "--output", tmp_path / "a.webp")
    assert code == 2
    assert "teacache-curve: must be 'identity', which is rough, for this model" in err
    given = (*given, "--teacache-curve=identity", "--teacache-start=2")
    code, _, err = command("generate", *given, "--output", tmp_path / "a.webp")
    assert code == 0, err
    record = json.loads((tmp_path / "a.webp.json").read_text(encoding="utf-8"))
    (skipped,) = record["teacache"]["skipped"]
    assert skipped
    assert min(skipped) >= 2
    assert f"teacache: the blocks of {len(skipped)} of 8 steps were left out, an approximation" in err
    kept = tmp_path / "kept" / "latents-0000.safetensors"
    for again in (("replay", tmp_path / "a.webp"), ("decode", kept)):
        code, _, err = command(*again, "--output", tmp_path / "again.webp")
        assert code == 0, err
        assert command("diff", tmp_path / "a.webp", tmp_path / "again.webp")[0] == 0
        made = json.loads((tmp_path / "again.webp.json").read_text(encoding="utf-8"))
        assert made["teacache"] == record["teacache"]
    code, _, err = command("generate", "a red circle", "--teacache-start=2")
    assert code == 2
    assert "teacache-start: needs --teacache" in err


def test_the_number_type_of_the_autoencoder_is_recorded_and_replayed(command, tmp_path):
    given = ("a red circle", "--seed=1", "--steps=2", "--dtype=bfloat16", "--resume-dir", tmp_path / "kept")
    code, _, err = command("generate", *given, "--vae-dtype=float32", "--output", tmp_path / "a.webp")
    assert code == 0
    assert "vae-dtype: the autoencoder runs in float32\n" in err
    machine = json.loads((tmp_path / "a.webp.json").read_text(encoding="utf-8"))["machine"]
    assert (machine["dtype"], machine["vae_dtype"]) == ("bfloat16", "float32")
    for again in (
        ("replay", tmp_path / "a.webp"),
        ("decode", tmp_path / "kept" / "latents-0000.safetensors"),
    ):
        code, _, err = command(*again, "--output", tmp_path / "again.webp")
        assert code == 0, err
        assert command("diff", tmp_path / "a.webp", tmp_path / "again.webp")[0] == 0
    code, _, err = command("generate", *given, "--output", tmp_path / "b.webp")
    assert code == 2
    assert "holds another job" in err
    code, _, err = command("generate", "a red circle", "--vae-dtype=int8")
    assert code == 2
    assert "vae-dtype: must be one of auto, same, float32, bfloat16, float16, fp32, bf16, fp16" in err


def test_fields_of_the_request_are_named(made, command):
    first, second = made("a.webp"), made("b.webp", "--seed", "2", "--guidance", "5")
    code, out, _ = command("diff", first, second)
    assert code == 1
    assert out.splitlines() == [
        "request.guidance_scale: 3.0 -> 5.0",
        "request.seed: 1 -> 2",
        "the frames differ because of request.guidance_scale, request.seed",
    ]
    code, out, _ = command("diff", first, second, "--pixels", "--json")
    told = json.loads(out)
    assert code == 1
    assert told["identical"] is False
    assert [entry["field"] for entry in told["differences"]] == ["request.guidance_scale", "request.seed"]
    assert {"field": "request.seed", "first": 1, "second": 2, "weight": "decides"} in told["differences"]
    assert told["pixels"]["largest"] > 0
    assert told["pixels"]["first"] == 0


def test_inputs_count_by_their_content(made, command, media):
    plain = made("a.webp")
    first = made("b.webp", "--image", media / "square.png")
    second = made("c.webp", "--image", media / "wide.png")
    _, out, _ = command("diff", plain, first)
    assert out.splitlines()[0].startswith('inputs.image: not given -> {"xxh3": "')
    code, out, _ = command("diff", first, second)
    assert code == 1
    assert out.splitlines()[-1] == "the frames differ because of inputs.image"


def test_a_field_without_effect_is_told(made, command):
    code, out, _ = command("diff", made("a.mp4"), made("b.mp4", "--fps", "12"))
    assert code == 0
    assert out.splitlines() == ["request.fps: 8 -> 12", "identical frames, although these fields differ"]


MACHINE = "the request is the same, and the machine or the versions are not"
LORA = {"path": "x/a.safetensors", "xxh3": "0" * 32, "weight": 1.0}


@pytest.mark.parametrize(
    ("change", "line", "verdict"),
    [
        (
            lambda record: record["model"].update(fingerprint="f" * 32),
            "model.fingerprint: ",
            "model.fingerprint",
        ),
        (
            lambda record: record.update(loras=[LORA]),
            "loras.a.safetensors: not given -> ",
            "loras.a.safetensors",
        ),
        (lambda record: record["versions"].update(torch="0.1"), "versions.torch: ", MACHINE),
        (lambda record: record["machine"].update(threads=99), "machine.threads: ", MACHINE),
    ],
)
def test_model_loras_and_versions_explain(change, line, verdict, made, command):
    first = made("a.webp")

    def differs(record):
        change(record)
        record["frames"]["xxh3"] = "0" * 32

    code, out, _ = command("diff", first, _edit(first, differs))
    assert code == 1
    assert out.startswith(line)
    assert out.rstrip().endswith(verdict)


def test_pixels_are_compared_when_no_field_differs(made, command):
    first = made("a.webp")
    other = _edit(first, lambda record: record["frames"].update(xxh3="0" * 32))
    code, out, _ = command("diff", first, other)
    assert code == 1
    assert out.splitlines() == [
        "pixels: the files show the same",
        "the frames differ although all fields are the same: a step that does not repeat itself",
    ]


def test_loras_of_one_name_are_told_apart():
    from ea_app.api.comparison import differences

    def record(*hashes):
        loras = [
            {"path": f"{index}/a.safetensors", "xxh3": xxh3, "weight": 1.0}
            for index, xxh3 in enumerate(hashes)
        ]
        return {"loras": loras}

    found = list(differences(record("1", "2"), record("1", "3")))
    assert [difference.field for difference in found] == ["loras.a.safetensors #2"]
    assert list(differences(record("1", "2"), record("1", "2"))) == []


def test_how_far_frames_are_apart(tmp_path):
    from ea_app.api.comparison import compare_pixels

    frames = np.full((4, 16, 16, 3), 100, dtype=np.uint8)
    first = write_video(tmp_path / "a.zip", frames)
    frames[2:, 0, 0] = 103
    second = write_video(tmp_path / "b.zip", frames)
    found = compare_pixels(first, second)
    assert (found["largest"], found["changed"], found["first"]) == (3, 0.5, 2)
    assert found["mean"] == pytest.approx(3 / 512, abs=1e-4)
    assert found["psnr"] == pytest.approx(10 * np.log10(255**2 / (9 / 512)), abs=0.01)
    assert compare_pixels(first, first) == {
        "largest": 0, "mean": 0.0, "psnr": None, "changed": 0.0, "first": None,
    }  # fmt: skip


def test_mistakes_are_one_line(made, command, tmp_path, media):
    first = made("a.webp")
    for arguments, message in (
        (("none.mp4", first), "file: none.mp4 does not exist"),
        ((first, media / "clip.mp4"), "carries no record"),
        ((first, made("b.webp", "--size", "48x32"), "--pixels"), "pixels: cannot be compared"),
    ):
        code, _, err = command("diff", *arguments)
        assert code == 2
        assert message in err
        assert err.count("\n") == 1
