"""A whole run on drawn footage: planted faults are found where they belong, and nothing clean is lost."""

import json
import shutil

import numpy as np
import pytest
from curation_corpus import FPS, SCENE, make_corpus, pan
from curation_workers import results_of, rows_of

from ea_data.cli import main
from ea_data.curation.curate import Engines, curate
from ea_data.curation.plan import load_plan
from ea_data.lint.run import lint
from ea_data.manifest import read_manifest
from ea_data.media import MediaError, VideoReader, write_video
from ea_data.training.recipe import ClipOptions, DataRecipe
from ea_data.training.shapes import ShapeOptions

INLINE = Engines(name="inline")
QUICK = ("text.frames=1", "text.side=320")
LIGHT = load_plan("offline", QUICK)


def _measured(report):
    return {count.label: count.measured for count in report.counts if count.measured}


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    """Twenty files, and for each faulty one the stage that has to find it."""
    folder = tmp_path_factory.mktemp("footage")
    return folder, make_corpus(folder)


@pytest.fixture(scope="module")
def whole(footage, tmp_path_factory):
    """A run of the plan `offline`: its folder and report. Not to be changed."""
    output = tmp_path_factory.mktemp("whole") / "out"
    return output, curate(LIGHT, footage[0], output, engines=INLINE, samples=4)


def test_every_planted_fault_is_found_by_its_stage(footage, whole):
    found = {row["file"]: row["stage"] for row in rows_of(whole[0] / "excluded.jsonl")}
    expected = footage[1]
    assert set(found) == set(expected)
    assert [name for name in expected if found[name] not in expected[name].split(" or ")] == []


def test_no_clean_clip_is_lost_and_cuts_are_exact(whole):
    kept = rows_of(whole[0] / "metadata.jsonl")
    assert [row["source"] for row in kept] == [
        "clean0.mp4",
        "clean1.mp4",
        "clean2.mp4",
        "twoscenes0.mp4",
        "twoscenes0.mp4",
    ]
    second = kept[-1]
    assert abs(second["start"] * FPS - SCENE) <= 1
    with VideoReader(whole[0] / second["file_path"]) as reader:
        expected = pan(400, SCENE)[0, :, ::-1] // 2 + 100
        assert np.abs(reader[0].astype(int) - expected).mean() < 4


def test_counts_add_up(footage, whole):
    report = whole[1]
    by_label = {count.label: count for count in report.counts}
    assert by_label["list"].came == len(list(footage[0].glob("*.mp4")))
    going_on = by_label["list"].came
    for count in report.counts:
        assert count.came == going_on
        going_on = (count.made or count.kept) + count.passed
    assert going_on == report.kept == len(rows_of(whole[0] / "metadata.jsonl"))
    ended = sum(count.dropped + count.failed for count in report.counts)
    assert ended == len(rows_of(whole[0] / "excluded.jsonl"))
    told = json.loads((whole[0] / "report" / "report.json").read_text())
    assert sum(sum(counts.values()) for counts in told["reasons"].values()) == ended == told["ended"]


def test_the_report_has_sheets_of_what_was_kept_and_dropped(whole):
    page = (whole[0] / "report" / "index.html").read_text(encoding="utf-8")
    assert "Kept: 5 rows, 4 of them" in page
    assert "Left out by quality" in page
    assert "banner0.mp4" in page
    assert (whole[0] / "report" / "sheet-0.jpg").stat().st_size > 1000


def test_the_manifest_can_be_trained_on(whole):
    manifest = whole[0] / "metadata.jsonl"
    assert read_manifest(manifest).errors == ()
    recipe = DataRecipe(
        shapes=ShapeOptions(
            video_sample_size=64, image_sample_size=64, token_sample_size=64, video_sample_n_frames=9
        ),
        batch_size=1,
        clip=ClipOptions(min_frames=4),
    )
    found = lint(manifest, recipe)
    assert found.count.kept == 5
    assert found.number_of("error") == 0


def test_the_same_run_again_measures_nothing(footage, whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "out")
    report = curate(LIGHT, footage[0], tmp_path / "out", engines=INLINE, samples=0)
    # Files that failed are tried again.
    assert sum(count.measured for count in report.counts) == 0
    assert results_of(tmp_path / "out") == results_of(whole[0])


def test_another_threshold_measures_nothing_and_another_option_only_its_stage(footage, whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "out")
    stricter = load_plan("offline", (*QUICK, "motion.least=0.4"))
    report = curate(stricter, footage[0], tmp_path / "out", engines=INLINE, samples=0)
    assert sum(count.measured for count in report.counts) == 0
    assert {row["file_path"] for row in rows_of(tmp_path / "out" / "metadata.jsonl")} < {
        row["file_path"] for row in rows_of(whole[0] / "metadata.jsonl")
    }
    assert len(list((tmp_path / "out" / "clips").rglob("*.mp4"))) == report.kept
    other = load_plan("offline", (*QUICK, "camera.least_shift=0.05"))
    counts = curate(other, footage[0], tmp_path / "out", engines=INLINE, samples=0).counts
    # The caption tells what the camera does.
    assert {count.label for count in counts if count.measured} <= {"camera", "captions", "clean"}
    assert {count.label: count.measured for count in counts}["camera"] == 7


def test_another_byte_measures_that_file_alone(footage, whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "out")
    shutil.copytree(footage[0], tmp_path / "footage")
    write_video(tmp_path / "footage" / "clean1.mp4", pan(77), fps=FPS)
    report = curate(LIGHT, tmp_path / "footage", tmp_path / "out", engines=INLINE, samples=0)
    stages = {step.stage for step in LIGHT.steps} - {"duplicates"}
    assert _measured(report) == dict.fromkeys(stages, 1)
    # One clip has come for another, in its place.
    assert report.kept == 5


def test_a_clip_that_is_gone_is_made_again(footage, whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "out")
    (clip,) = (tmp_path / "out" / "work" / "cut").rglob("twoscenes0_1.mp4")
    clip.write_bytes(b"x")
    report = curate(LIGHT, footage[0], tmp_path / "out", engines=INLINE, samples=0)
    assert _measured(report) == {"cut": 1}
    assert results_of(tmp_path / "out") == results_of(whole[0])


@pytest.mark.parametrize("case", ["inside", "other", "missing", "file"])
def test_folders_that_are_refused(case, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    write_video(source / "a.mp4", pan(1, 4), fps=8)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious.txt").write_text("x")
    output, words = {
        "inside": (source / "out", "have one in the other"),
        "other": (tmp_path / "other", "something else than a run"),
        "missing": (tmp_path / "no" / "out", "does not exist"),
        "file": (tmp_path / "other" / "precious.txt", "precious.txt"),
    }[case]
    with pytest.raises(MediaError, match=words):
        curate(LIGHT, source, output, engines=INLINE)
    assert (tmp_path / "other" / "precious.txt").read_text() == "x"


def test_command_and_mistakes(tmp_path, capsys):
    assert main(["run", "offline", "--show"]) == 0
    shown = tmp_path / "mine.yaml"
    shown.write_text(capsys.readouterr().out)
    assert load_plan(str(shown)).to_mapping() == load_plan("offline").to_mapping()
    wrong = {
        ("nonsense",): "there is no plan 'nonsense'; allowed: easyanimate-v5, offline",
        ("offline", "--set", "motion.leest=1"): "unknown key 'leest'",
        ("offline", "--set", "motion.least=99"): "least is 99; allowed: at most most",
        ("offline", "--set", "moton.least=1"): "has no stage 'moton'",
        ("offline",): "INPUT and OUTPUT are missing",
        ("offline", "nowhere", str(tmp_path / "out")): "no such file or folder",
        ("offline", str(tmp_path), str(tmp_path.parent / "out"), "--workers", "0"): "workers is 0",
    }
    for words, message in wrong.items():
        assert main(["run", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
