"""Every planted fault is found with its reason, and data without a fault has no finding."""

from dataclasses import replace

import numpy as np
import pytest
from lint_corpus import (
    FAULTS,
    FRAMES,
    OPTIONS,
    PICTURES,
    RECIPE,
    VIDEOS,
    all_keys,
    camera_rows,
    caption,
    checked,
    clean_rows,
    control_rows,
    found,
    held_rows,
    picture,
    scene,
    still,
    video,
    write_rows,
)

from ea_data.lint.copies import near_copies
from ea_data.lint.findings import RULES
from ea_data.manifest import read_manifest
from ea_data.media import write_video
from ea_data.training.dataset import TrainingDataset
from ea_data.training.failures import BrokenSampleWarning


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A folder with the manifests train.jsonl and held.jsonl, without a fault; not to be changed."""
    folder = tmp_path_factory.mktemp("clean")
    write_rows(folder / "train.jsonl", clean_rows(folder))
    write_rows(folder / "held.jsonl", held_rows(folder))
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The report on clean rows and after them every fault of a single row once."""
    folder = tmp_path_factory.mktemp("planted")
    rows = clean_rows(folder) + [make(folder) for _, make in FAULTS.values()]
    return checked(write_rows(folder / "train.jsonl", rows))


@pytest.mark.parametrize("deep", [False, True])
def test_data_without_a_fault_has_no_finding(clean, deep):
    report = checked(
        clean / "train.jsonl", validation=clean / "held.jsonl", options=replace(OPTIONS, deep=deep)
    )
    assert report.findings == ()
    assert (report.count.rows, report.count.kept, report.count.dropped) == (10, 10, {})
    assert report.validation_count.kept == 2
    assert report.exit_code(strict=True) == 0


def test_every_planted_fault_is_found_and_nothing_else(planted):
    first = VIDEOS + PICTURES
    expected = [(first + place, rule) for place, (rules, _) in enumerate(FAULTS.values()) for rule in rules]
    assert found(planted) == expected


def test_kept_and_dropped_are_all_rows(planted):
    dropping = [rules for rules, _ in FAULTS.values() if any(RULES[rule].drops for rule in rules)]
    count = planted.count
    assert count.rows == VIDEOS + PICTURES + len(FAULTS)
    assert sum(count.dropped.values()) == len(dropping)
    assert count.kept == count.rows - len(dropping)
    (epoch,) = planted.epochs
    assert epoch.samples == count.kept == sum(bucket.samples for bucket in epoch.buckets)


def test_each_rule_of_a_row_is_planted():
    elsewhere = {
        "no-bucket",
        "timeout",
        "duplicate",
        "near-duplicate",
        "leak",
        "near-leak",
        "caption-repeated",
    }
    whole = {"bucket-small", "bucket-lost", "no-batch"}
    control = {rule for rule in RULES if rule.startswith(("control", "camera"))}
    planted = {rule for rules, _ in FAULTS.values() for rule in rules}
    assert planted | elsewhere | whole | control == set(RULES)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("cut off", "damaged at byte"),
        ("text as a video", "not a known video or image"),
        ("picture as a video", "the row says video; the file is a picture (png)"),
        ("video as a picture", "the row says image; the file is a video (mp4)"),
        (
            "too short",
            "4 frames give a clip of 3; allowed: clip.min_frames, 4, or more (stride 1, 0.1 and 0.1 left",
        ),
        ("shorter than wanted", "8 frames give a clip of 5"),
        ("more frames told", "the row says 14 frames; the file has 13"),
        ("another width told", "the row says width 130 where the file has 128"),
        ("another rate told", "fps 25 where the file has 8"),
        ("small", "64x36 would be enlarged 1.33 times; trained at 80x48"),
        ("long and thin", "400x48 is 8.3 times as long as wide; expected: at most 4 times"),
        ("black", "every frame is of one colour, about #000000"),
        ("short caption", "'Squares' has 7 characters; expected: 8 or more"),
        ("forbidden word", "the caption has 'watermark'"),
        ("control characters", "U+0000"),
        ("web address", "'from https://example.org/a?b=1'"),
    ],
)
def test_messages_say_what_was_found(planted, fault, message):
    number = VIDEOS + PICTURES + list(FAULTS).index(fault)
    (finding,) = (finding for finding in planted.findings if finding.row == number)
    assert message in finding.message
    assert "\n" not in finding.message


def test_damage_between_the_frames_that_are_looked_at(tmp_path):
    all_keys(tmp_path / "clip.mp4", 0, 60, damaged=10)
    row = {"file_path": "clip.mp4", "text": caption(0), "type": "video"}
    manifest = write_rows(tmp_path / "train.jsonl", [row])
    recipe = replace(RECIPE, batch_size=1)
    assert found(checked(manifest, recipe)) == []
    (finding, _) = checked(manifest, recipe, options=replace(OPTIONS, deep=True)).findings
    assert (finding.row, finding.rule) == (0, "broken")


def test_many_files_that_look_the_same_take_no_time():
    prints = [bytes(range(256)) * 2 + bytes([number % 3]) * 64 for number in range(4000)]
    assert near_copies(prints, [""] * 4000) == [(0, number) for number in range(1, 4000)]


def test_the_same_caption_allows_twice_the_difference():
    first = np.full(576, 100, np.uint8)
    first[::2] = 200
    prints = [first.tobytes(), (first + 8).tobytes()]
    assert near_copies(prints, ["a dog", "a cat"]) == []
    assert near_copies(prints, ["", ""]) == []
    assert near_copies(prints, ["a dog", "a dog"]) == [(0, 1)]


def test_copies_and_leaks(clean, tmp_path):
    rows = [*held_rows(tmp_path), video(tmp_path, 0)]
    content = (tmp_path / "clip0.mp4").read_bytes()
    (tmp_path / "copy.mp4").write_bytes(content)
    write_video(tmp_path / "anew.mp4", scene(0, FRAMES, 144, 256), fps=8, crf=30)
    still(100, 192, 224).save(tmp_path / "large.jpg", quality=70)
    rows += [
        {"file_path": "copy.mp4", "text": "Another caption of the same file", "type": "video"},
        {"file_path": "anew.mp4", "text": caption(0), "type": "video"},
        picture(tmp_path, 100),
        {"file_path": "large.jpg", "text": "A picture that is larger and coded anew", "type": "image"},
        video(tmp_path, 51, "renamed.mp4", height=108, width=192),
    ]
    held = write_rows(clean / "leaked.jsonl", held_rows(clean)[:2])
    report = checked(write_rows(tmp_path / "train.jsonl", rows), validation=held)
    assert [each for each in found(report) if each[1] != "bucket-small"] == [
        (0, "leak"),
        (1, "leak"),
        (3, "duplicate"),
        (4, "near-duplicate"),
        (6, "near-duplicate"),
        (7, "near-duplicate"),
        (7, "near-leak"),
    ]
    by_row = {(finding.row, finding.rule): finding for finding in report.findings}
    copy = by_row[3, "duplicate"]
    assert copy.related == (f"{tmp_path / 'train.jsonl'}:3",)
    assert "with another caption" in copy.message
    assert "with the same caption" in by_row[4, "near-duplicate"].message
    assert by_row[7, "near-leak"].related == (f"{held}:2",)
    assert report.count.kept == report.count.rows == 8
    assert report.exit_code(strict=False) == 1


def test_the_same_captions(tmp_path):
    texts = [
        "Squares that move",
        "Squares that move",
        "SQUARES  that move",
        *(f"other {n}!" for n in range(7)),
    ]
    rows = [{**row, "text": text} for row, text in zip(clean_rows(tmp_path), texts, strict=True)]
    report = checked(write_rows(tmp_path / "train.jsonl", rows))
    (finding,) = report.findings
    assert (finding.row, finding.rule) == (0, "caption-repeated")
    assert finding.message == "3 rows have the caption 'Squares that move'"
    assert [place.rsplit(":", 1)[1] for place in finding.related] == ["2", "3"]
    assert checked(tmp_path / "train.jsonl", options=replace(OPTIONS, repeated=4)).findings == ()


CONTROL = replace(RECIPE, control="video", batch_size=1)
CAMERA = replace(RECIPE, control="camera", batch_size=1)


def test_control(tmp_path):
    rows = control_rows(tmp_path)
    manifest = tmp_path / "train.jsonl"
    assert checked(write_rows(manifest, rows), CONTROL).findings == ()
    write_video(tmp_path / "short.mp4", scene(5, FRAMES - 1), fps=8)
    write_video(tmp_path / "square.mp4", scene(5, FRAMES, 96, 96), fps=8)
    (tmp_path / "notes.mp4").write_text("no video")
    changes = {
        "control-none": None,
        "control-missing": "none.mp4",
        "control-broken": "notes.mp4",
        "control-length": "short.mp4",
        "control-size": "square.mp4",
    }
    rows = [
        {**video(tmp_path, 300 + n), "control_file_path": name} for n, name in enumerate(changes.values())
    ]
    rows.append({**video(tmp_path, 310), "control_file_path": "drawing.png"})
    report = checked(write_rows(manifest, rows), CONTROL)
    expected = [*enumerate(changes), (5, "control-broken")]
    assert [each for each in found(report) if each[1] in RULES] == expected
    assert (report.count.kept, report.epochs) == (0, ())
    assert report.findings[-1].rule == "no-batch"
    assert checked(manifest, replace(RECIPE, batch_size=1)).findings == ()


def test_cameras(tmp_path):
    rows, manifest = camera_rows(tmp_path), tmp_path / "train.jsonl"
    assert checked(write_rows(manifest, rows), CAMERA).findings == ()
    (tmp_path / "camera0.txt").write_text("\n1 2 3\n")
    (tmp_path / "camera1.txt").unlink()
    del rows[2]["control_file_path"]
    report = checked(write_rows(manifest, rows), CAMERA)
    assert found(report) == [(0, "camera"), (1, "control-missing"), (2, "camera-none")]
    assert "3 values; expected" in report.findings[0].message
    assert report.count.kept == 2


def test_training_leaves_out_the_same_rows(tmp_path):
    """What the data set finds by itself agrees with what is dropped, and so does the order of batches."""
    rows = clean_rows(tmp_path) + [
        FAULTS[name][1](tmp_path)
        for name in ("no such file", "cut off", "picture as a video", "video as a picture", "too short")
    ]
    recipe = replace(RECIPE, video_repeat=3, remainder="drop")
    report = checked(write_rows(tmp_path / "train.jsonl", rows), recipe)
    with pytest.warns(BrokenSampleWarning):
        dataset = TrainingDataset(read_manifest(tmp_path / "train.jsonl", check_files=False).entries, recipe)
    assert {broken.line for broken in dataset.left_out} == {
        row.line for row, reason in zip(report.rows, report.reasons, strict=True) if reason
    }
    (epoch,) = report.epochs
    assert epoch.batches == len(dataset)
    batches = dataset.order.epoch(0).at(range(len(dataset)))
    assert int(batches.lengths.sum()) == epoch.samples - epoch.left_out
    assert epoch.samples == 3 * VIDEOS + PICTURES


@pytest.mark.parametrize("column", ["file_path", "control_file_path"])
def test_a_path_that_cannot_be_looked_at_is_a_finding(tmp_path, column):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    paths = [
        "x" * 6000 + ".mp4",
        f"/{'x' * 6000}.mp4",
        str(tmp_path / "folder.mp4"),
        str(tmp_path / "loop.mp4"),
    ]
    good = video(tmp_path, 0)
    rows = [good, *({**good, column: path} for path in paths)]
    recipe = RECIPE if column == "file_path" else replace(RECIPE, control="video")
    report = checked(write_rows(tmp_path / "train.jsonl", rows), recipe)
    found = {finding.line: finding for finding in report.findings if finding.drops and finding.line > 1}
    if column == "file_path":
        assert [found[line].rule for line in range(2, 6)] == ["row", "broken", "broken", "broken"]
    else:
        assert [found[line].rule for line in range(2, 6)] == ["row", *["control-missing"] * 3]
    reasons = ["File name too long", "File name too long", "not a regular file", "a loop of links"]
    assert all(reason in found[line].message for line, reason in enumerate(reasons, start=2))
