"""Folders of samples and the command that writes them."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from ea_data import cli
from ea_data.control.camera import read_camera
from ea_data.control.trajectory import read_trajectory
from ea_data.manifest import Facts, read_manifest
from ea_data.media import Limits, MediaError, probe, read_frames, read_metadata
from ea_data.synthetic.clips import SCENE_KINDS, caption_of, draw
from ea_data.synthetic.folder import write_samples
from ea_data.synthetic.samples import Plan
from ea_data.synthetic.signals import SIGNALS, canny, edges, heat, masks
from ea_data.training.facts import FileFacts, gather_facts, probe_facts

ALL = tuple(SIGNALS)
PLAN = Plan(num_frames=3, height=32, width=48, controls=ALL, seed=5)
SMALL = Plan(num_frames=2, height=16, width=16, controls=("camera",))


def _content(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    target = tmp_path_factory.mktemp("whole") / "set"
    written = write_samples(target, PLAN, 6)
    assert (written.made, written.kept) == (6, 0)
    return target


def test_rows_and_files(folder):
    entries = read_manifest(folder / "metadata.jsonl").entries
    assert [entry.extra["scene"]["kind"] for entry in entries] == ["one", "two", "camera"] * 2
    for index, entry in enumerate(entries):
        scene = PLAN.scene(index)
        assert entry.text == caption_of(scene)
        assert entry.control_path is not None
        assert entry.control_path.as_posix().endswith(entry.extra["canny_file_path"])
        assert entry.facts == Facts(num_frames=3, height=32, width=48, fps=8.0)
        clip = draw(scene, num_frames=3, height=32, width=48)
        assert np.abs(read_frames(entry.path).astype(int) - clip.frames).mean() < 8
        assert json.loads(read_metadata(entry.path) or "")["text"] == entry.text
        assert probe(entry.path).fps == 8
        # Control videos keep every pixel.
        for name, make in (("canny", canny), ("edges", edges), ("masks", masks), ("heat", heat)):
            read = read_frames(folder / entry.extra[f"{name}_file_path"]).astype(int)
            assert np.abs(read - make(clip)[..., None]).max() <= 1, name
        paths = read_trajectory(folder / entry.extra["trajectory_file_path"], 32, 48)
        assert np.abs(paths[0][:, 0] - clip.tracks[0].x).max() < 1e-3
        camera = read_camera(folder / entry.extra["camera_file_path"])
        assert np.abs(camera.world_to_camera - clip.camera.world_to_camera).max() < 1e-8


def test_no_file_is_opened_to_learn_what_a_row_says(folder, tmp_path):
    write_samples(tmp_path / "pictures", Plan(num_frames=1, height=16, width=32), 3)
    for place, frames, height, width in ((folder, 3, 32, 48), (tmp_path / "pictures", 1, 16, 32)):
        entries = read_manifest(place / "metadata.jsonl").entries
        looked: list[int] = []

        def progress(done: int, total: int, looked: list[int] = looked) -> None:
            looked.append(done)

        facts = gather_facts(entries, Limits(), progress=progress)
        assert facts == [FileFacts(frames, height, width)] * len(entries)
        assert looked == []
        assert facts == [probe_facts(entry.path, entry.type, Limits()) for entry in entries]


def test_workers_change_nothing(folder, tmp_path):
    write_samples(tmp_path / "set", PLAN, 6, workers=2)
    assert _content(tmp_path / "set") == _content(folder)


def test_a_shorter_folder_is_the_beginning_of_a_longer_one(tmp_path):
    write_samples(tmp_path / "set", SMALL, 2)
    before = _content(tmp_path / "set")
    written = write_samples(tmp_path / "set", SMALL, 4)
    assert (written.made, written.kept) == (2, 2)
    after = _content(tmp_path / "set")
    assert after.pop("metadata.jsonl").startswith(before.pop("metadata.jsonl"))
    assert before.items() <= after.items()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "videos/0000001.mp4").write_bytes(b"torn"),
        lambda folder: (folder / "videos/0000001.mp4").unlink(),
        lambda folder: (folder / "camera/0000001.txt").write_text("more"),
        lambda folder: (folder / "records/0000001.json").unlink(),
        lambda folder: (folder / "records/0000001.json").write_text("[]"),
        lambda folder: (folder / "records/0000001.json").write_text('{"row": 1'),
    ],
)
def test_what_is_damaged_is_made_again(damage, tmp_path):
    write_samples(tmp_path / "set", SMALL, 3)
    before = _content(tmp_path / "set")
    damage(tmp_path / "set")
    written = write_samples(tmp_path / "set", SMALL, 3)
    assert (written.made, written.kept) == (1, 2)
    assert _content(tmp_path / "set") == before


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_a_killed_run_continues(workers, tmp_path):
    out = tmp_path / "set"
    options = [
        "--size",
        "32x32",
        "--frames",
        "5",
        "--count",
        "16",
        "--control",
        "canny,camera",
        "--workers",
        workers,
    ]
    command = [sys.executable, "-m", "ea_data.cli", "synthesize", str(out), *options]
    kept = []
    for least in (2, 5):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(list((out / "records").glob("[0-9]*.json"))) < least and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.5)  # workers end with their parent
        assert not (out / "metadata.jsonl").exists()
        kept.append({path: path.stat().st_mtime_ns for path in (out / "records").glob("[0-9]*.json")})
    assert len(kept[0]) >= 2
    assert kept[0].items() <= kept[1].items()
    # Whatever has its name is whole.
    plan = Plan(num_frames=5, height=32, width=32, controls=("canny", "camera"))
    for path in (*out.glob("videos/[0-9]*.mp4"), *out.glob("canny/[0-9]*.mp4")):
        assert read_frames(path).shape == (5, 32, 32, 3)
    (out / "videos" / ".0000015.0123456789ab.part.mp4").write_bytes(b"left by a killed writer")
    written = write_samples(out, plan, 16, workers=int(workers))
    assert written.kept >= len(kept[1])
    assert {path: path.stat().st_mtime_ns for path in kept[1]} == kept[1]
    assert list(out.rglob("*.part.*")) == []
    write_samples(tmp_path / "fresh", plan, 16)
    assert _content(out) == _content(tmp_path / "fresh")


def test_pictures(tmp_path):
    plan = Plan(num_frames=1, height=33, width=31, scenes=("camera", "two"), controls=("masks", "trajectory"))
    written = write_samples(tmp_path / "set", plan, 2)
    entries = read_manifest(written.manifest).entries
    assert [entry.type for entry in entries] == ["image", "image"]
    assert [entry.extra["scene"]["kind"] for entry in entries] == ["camera", "two"]
    clip = draw(plan.scene(1), num_frames=1, height=33, width=31)
    assert np.array_equal(read_frames(entries[1].path), clip.frames)
    assert np.array_equal(read_frames(tmp_path / "set/masks/0000001.png")[..., 0], masks(clip))
    assert "camera" not in entries[0].text


def test_a_folder_is_written_by_one_process_and_one_plan(tmp_path):
    write_samples(tmp_path / "set", SMALL, 1)
    with pytest.raises(MediaError, match="other parameters"):
        write_samples(tmp_path / "set", replace(SMALL, seed=1), 1)
    with (
        FileLock(tmp_path / "set" / ".lock"),
        pytest.raises(MediaError, match="another process is writing it"),
    ):
        write_samples(tmp_path / "set", SMALL, 1)
    with pytest.raises(MediaError, match="does not exist"):
        write_samples(tmp_path / "absent" / "set", SMALL, 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot write"):
        write_samples(tmp_path / "file", SMALL, 1)


def test_a_stopped_run_says_so_and_leaves_no_manifest(tmp_path):
    def stop(done, _):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_samples(tmp_path / "set", SMALL, 4, progress=stop)
    assert not (tmp_path / "set" / "metadata.jsonl").exists()
    assert write_samples(tmp_path / "set", SMALL, 4).kept == 2


def test_held_out_samples(tmp_path):
    from ea_data.synthetic.camera_scenes import move_is_heldout
    from ea_data.synthetic.pairs import pair_is_heldout

    plan = replace(SMALL, split="heldout", scenes=("two", "camera"))
    for index in range(6):
        scene = plan.scene(index)
        if index % 2:
            assert move_is_heldout(scene.shape.shape, scene.shape.colour, scene.move)
        else:
            assert pair_is_heldout(scene.shapes[0].shape, scene.relation, scene.shapes[1].shape)


def test_the_command(tmp_path, capsys):
    arguments = ["synthesize", str(tmp_path / "set"), "--count", "3", "--size", "32x16", "--frames", "2"]
    assert cli.main([*arguments, "--control", "trajectory, camera"]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(tmp_path / "set" / "metadata.jsonl")
    assert "3 samples made, 0 kept" in captured.err
    entries = read_manifest(tmp_path / "set" / "metadata.jsonl").entries
    assert entries[0].control_path is not None
    assert entries[0].control_path.as_posix().endswith("trajectory/0000000.json")
    assert cli.main([*arguments, "--control", "trajectory,camera"]) == 0
    assert "0 samples made, 3 kept" in capsys.readouterr().err
    # The files go where such files are read.
    assert cli.main(["camera", str(tmp_path / "set/camera/0000002.txt"), "--frames", "2"]) == 0
    assert capsys.readouterr().out == (tmp_path / "set/camera/0000002.txt").read_text()
    points = str(tmp_path / "set/trajectory/0000001.json")
    assert (
        cli.main(["trajectory", points, str(tmp_path / "heat.webp"), "--size", "32x16", "--frames", "2"]) == 0
    )


def test_help_names_what_there_is(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["synthesize", "--help"])
    assert caught.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name in (*SCENE_KINDS, *SIGNALS):
        assert re.search(rf"\b{name}\b", shown), name
    options = "--count INT, --size WIDTHxHEIGHT, --frames INT, --fps NUMBER, --seed INT, --workers INT"
    for option in (
        *options.split(", "),
        "--scenes KIND,...",
        "--control KIND,...",
        "--split {train,heldout,all}",
    ):
        assert option in shown
    assert shown.count("(default: ") == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "64"], "--size is '64'; allowed: WIDTHxHEIGHT"),
        (["--size", "64x63"], "height and width are 63 and 64; allowed for clips: even"),
        (["--size", "64x4"], "--size is '64x4'; allowed: WIDTHxHEIGHT"),
        (["--count", "0"], "count is 0; allowed: 1 to 10000000"),
        (["--frames", "0"], "num_frames is 0"),
        (["--fps", "0"], "fps is 0.0; allowed: 0.1 to 240"),
        (["--fps", "nan"], "fps is nan; allowed: 0.1 to 240"),
        (["--seed", "-1"], "seed is -1; allowed: 0 or more"),
        (["--workers", "0"], "workers is 0; allowed: 1 to 256"),
        (["--scenes", "one,three"], "scene kind is 'three'; allowed: one, two, camera"),
        (["--scenes", ""], "scenes is empty; allowed: one or more of one, two, camera"),
        (["--scenes", "one,one"], "scenes are one, one; allowed: each name once"),
        (["--control", "depth"], "no control signal 'depth'; allowed: canny"),
        (["--control", "canny,"], "no control signal ''"),
        (["--control", "camera,camera"], "controls are camera, camera; allowed: each name once"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["synthesize", "out", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not Path("out").exists()


def test_a_dead_worker_is_told_and_the_run_continues(tmp_path):
    def kill(done, _):
        if done == 1:
            for child in multiprocessing.active_children():
                child.kill()

    with pytest.raises(MediaError, match="a worker died"):
        write_samples(tmp_path / "set", SMALL, 200, workers=2, progress=kill)
    written = write_samples(tmp_path / "set", SMALL, 4)
    assert written.kept >= 1
    assert written.made + written.kept == 4


def test_a_worker_that_cannot_write_says_why(tmp_path):
    target = tmp_path / "set"
    write_samples(target, SMALL, 1)
    (target / "videos" / "0000001.mp4").mkdir()
    for workers in (1, 2):
        with pytest.raises(MediaError, match=r"cannot write .*0000001\.mp4"):
            write_samples(target, SMALL, 3, workers=workers)
