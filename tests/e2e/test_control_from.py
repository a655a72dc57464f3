"""Control signals that are made of a video on the way to a film."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ea_app.api import Engine
from ea_app.api.extraction import Extraction
from ea_app.api.job import make_job
from ea_app.api.record import find_sources, read_record
from ea_app.catalog import find
from ea_app.options import InputError
from ea_data.control.kinds import KINDS
from ea_data.control.makers import make_control
from ea_data.media import read_image, read_video, write_video
from ea_data.synthetic import SyntheticDataset
from ea_data.transforms import cover_crop
from ea_dit.pipelines.tiny import make_tiny

GIVEN = ["--size", "32", "--steps", "2", "--seed", "3"]


@pytest.fixture(autouse=True)
def _opencv():
    pytest.importorskip("cv2")


def test_a_signal_made_on_the_way_is_the_one_made_before(controlled, tmp_path):
    """Both at the size of the job, losslessly."""
    clip = tmp_path / "clip.webp"
    write_video(clip, SyntheticDataset(seed=0, num_frames=5, height=64, width=64)[6]["video"], fps=10)
    source = read_video(clip)
    signal = make_control(cover_crop(source.frames, 32, 32), "canny", low=20, high=60)
    assert (signal[1:] != signal[:-1]).any(axis=(1, 2, 3)).all()
    before = write_video(tmp_path / "signal.webp", signal, fps=source.fps)
    on_the_way = ["--control-from", clip, "--control", "canny"]
    options = ["--control-options", "low=20,high=60"]
    made = controlled(tmp_path / "a.mp4", *on_the_way, *options)
    assert made == controlled(tmp_path / "b.mp4", "--control", before)
    assert made != controlled(tmp_path / "c.mp4", *on_the_way[:3], "softedge_scharr")
    assert round(read_video(tmp_path / "a.mp4").fps) == round(source.fps)


def test_replay_makes_the_signal_again(controlled, command, media, tmp_path):
    words = ["--control-from", media / "clip.mp4", "--control", "scribble", "--frames", "5"]
    controlled(tmp_path / "a.mp4", *words, "--control-options", "thickness=3, least-length=4")
    entry = read_record(tmp_path / "a.mp4")["inputs"]["control"]
    assert entry["extraction"]["kind"] == "scribble"
    assert entry["extraction"]["version"] == 1
    assert entry["extraction"]["options"]["thickness"] == 3
    assert entry["extraction"]["options"]["least_length"] == 4
    for file in ("a.mp4", "a.mp4.json"):
        code, out, err = command("replay", tmp_path / file, "--output", tmp_path / "again.mp4")
        assert (code, out.splitlines()[-1]) == (0, "identical frames"), err


def test_a_picture_gives_one_signal_for_all_frames(controlled, command, media, tmp_path):
    controlled(tmp_path / "a.mp4", "--control-from", media / "square.png", "--control", "lineart_xdog",
               "--frames", "5", "--fps", "6")  # fmt: skip
    code, out, err = command("replay", tmp_path / "a.mp4")
    assert (code, out.splitlines()[-1]) == (0, "identical frames"), err


def test_the_job_has_the_signal_at_its_own_size(control_model, media):
    job = make_job(find(str(control_model)), prompt="x", size="48x32", frames=5, control="softedge_scharr",
                   control_from=str(media / "square.png"))  # fmt: skip
    picture = cover_crop(read_image(media / "square.png")[None], 32, 48)
    expected = np.repeat(make_control(picture, "softedge_scharr"), 5, axis=0)
    assert np.array_equal(job.arrays["control"], np.repeat(picture, 5, axis=0))
    done = job.extracted()
    assert np.array_equal(done.arrays["control"], expected)
    assert done.extraction is None
    assert done.extracted() is done
    assert done.sources["control"].extraction == job.extraction


def test_the_engine_makes_what_a_job_still_asks_for(control_model, media, tmp_path):
    engine = Engine.load(str(control_model), device="cpu")
    given = {"size": "32", "frames": 5, "steps": 1, "seed": 3, "control": "canny"}
    job = engine.job("x", control_from=str(media / "clip.mp4"), control_options="low=20,high=60", **given)
    hashes = [engine.generate(each).record["frames"]["xxh3"] for each in (job, job.extracted())]
    assert hashes[0] == hashes[1]
    plain = engine.job("x", **{**given, "control": str(media / "clip.mp4")})
    assert engine.generate(plain).record["frames"]["xxh3"] != hashes[0]


def test_what_a_model_cannot_do_is_told_before_a_signal_is_made(command, media, tmp_path, monkeypatch):
    monkeypatch.setattr("ea_app.api.extraction.open_maker", None)
    other = make_tiny("v5.1-7b-t2v", tmp_path / "other")
    words = ["--control-from", media / "clip.mp4", "--control", "canny", "--model", other]
    code, _, err = command("generate", "x", *GIVEN, *words, "--output", tmp_path / "a.mp4")
    assert code == 2
    assert err.startswith("ea-app: error: control: cannot be used: this model supports ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--control-from", "CLIP"], "control-from: needs --control"),
        (["--control", "CLIP", "--control-options", "low=3"], "control-options: needs --control-from"),
        (
            ["--control-from", "CLIP", "--control", "cany"],
            "control: no control signal 'cany'; allowed: canny, ",
        ),
        (["--control", "canny"], "control: canny is a kind of signal; --control-from VIDEO says of what"),
        (["--control-from", "none.mp4", "--control", "canny"], "control-from: none.mp4 does not exist"),
        (
            ["--control-from", "CLIP", "--control", "canny", "--control-options", "lwo=3"],
            "control-options: canny has no option 'lwo'; allowed: low, high, blur",
        ),
        (
            ["--control-from", "CLIP", "--control", "canny", "--control-options", "low=x"],
            "control-options: low is 'x'; allowed: a number, 0 to 5100",
        ),
        (
            ["--control-from", "CLIP", "--control", "canny", "--control-options", "low"],
            "control-options: 'low' in 'low'; allowed: NAME=VALUE, each name once",
        ),
        (
            ["--control-from", "CLIP", "--control", "canny", "--control-options", "low=300"],
            "control-options: low is 300 and high is 200; allowed: low not above high",
        ),
        (
            ["--control-from", "CLIP", "--control", "hed"],
            "control-options: weights: ControlNetHED.pth of lllyasviel/Annotators",
        ),
        (
            ["--control-from", "CLIP", "--control", "canny", "--frames", "33"],
            "control-from: CLIP has 9 frames, 33 are",
        ),
        (
            ["--control-from", "CLIP", "--control", "canny", "--image", "CLIP"],
            "control: cannot be combined with --image",
        ),
    ],
)
def test_mistakes_are_told_before_weights_are_read(
    command, control_model, media, tmp_path, monkeypatch, options, message
):
    monkeypatch.setattr("ea_app.api.Engine.load", None)
    clip = str(media / "clip.mp4")
    words = [clip if word == "CLIP" else word for word in options]
    code, out, err = command(
        "generate", "x", *GIVEN, *words, "--model", control_model, "--output", tmp_path / "a.mp4"
    )
    assert (code, out) == (2, "")
    assert err.startswith(f"ea-app: error: {message.replace('CLIP', clip)}"), err
    assert len(err.splitlines()) == 1


def test_a_missing_extra_is_told(command, control_model, media, tmp_path, monkeypatch):
    import importlib

    real = importlib.import_module

    def without(name, *rest):
        if name == "cv2":
            raise ModuleNotFoundError("No module named 'cv2'")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    words = ["--control-from", media / "clip.mp4", "--control", "canny", "--model", control_model]
    code, _, err = command("generate", "x", *GIVEN, *words, "--output", tmp_path / "a.mp4")
    assert code == 2
    assert err.rstrip().endswith("install it with: pip install 'ea-data[control]'")


def entry_of(name, **changes):
    return {**Extraction(kind=KINDS[name], options=KINDS[name].options()).to_entry(), **changes}


def test_a_record_decides_nothing_for_who_replays_it():
    entry = entry_of("hed")
    assert not {"offline", "allow_pickle"} & entry["options"].keys()
    options = Extraction.from_entry(entry, allow_pickle=False).options
    assert (options.offline, options.allow_pickle) == (True, False)
    assert Extraction.from_entry(entry, allow_pickle=True).options.allow_pickle
    assert Extraction.from_entry(entry_of("depth"), allow_pickle=True).options.offline


def test_records_of_other_versions_are_refused(media, tmp_path):
    for change, message in (
        ({"version": 2}, r"control: canny has changed since \(its version was 2, now 1\)"),
        ({"kind": "future"}, "control: no control signal 'future'"),
        ({"options": {"lwo": 3}}, "control: canny has no option 'lwo'"),
    ):
        with pytest.raises(InputError, match=message):
            Extraction.from_entry(entry_of("canny", **change), allow_pickle=False)


def test_broken_entries_of_a_record(controlled, media, tmp_path):
    controlled(
        tmp_path / "a.mp4", "--control-from", media / "clip.mp4", "--control", "canny", "--frames", "5"
    )
    beside = tmp_path / "a.mp4.json"
    record = json.loads(beside.read_text())
    assert find_sources(record, tmp_path)["control"].extraction.kind is KINDS["canny"]
    good = record["inputs"]["control"]["extraction"]
    for wrong in (
        None,
        {},
        {**good, "more": 1},
        {**good, "version": "1"},
        {**good, "options": {"allow_pickle": True}},
    ):
        record["inputs"]["control"]["extraction"] = wrong
        beside.write_text(json.dumps(record))
        with pytest.raises(InputError, match="broken input 'control'"):
            read_record(beside)
