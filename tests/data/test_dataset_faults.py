"""The data set that opens files: what happens when files are not what they should be."""

import pickle
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from media_folder import (
    RECIPE,
    batches,
    clip,
    entries,
    entries_of,
    picture,
    quiet,
    same,
)
from mutations import mutate

from ea_data.manifest import read_manifest
from ea_data.media import write_video
from ea_data.training.dataset import TrainingDataset
from ea_data.training.failures import BrokenSampleWarning
from ea_data.training.loader import TrainingLoader
from ea_data.training.recipe import (
    ClipOptions,
)


def test_a_file_that_cannot_be_opened_is_left_out_and_told_once(mine):
    (mine.parent / "clip2.mp4").write_bytes(b"nothing")
    dataset, told = quiet(mine)
    assert [failure.path.name for failure in told] == ["clip2.mp4"]
    assert "not a known video" in told[0].reason
    assert dataset.left_out == tuple(told)
    names = {dataset.entries[c.entry].path.name for b in batches(dataset, 12) for c in b.choices}
    assert len(names) == 8
    assert "clip2.mp4" not in names
    assert len(told) == 1


def test_a_file_that_breaks_later_is_replaced_by_the_next_of_its_bucket(mine):
    dataset, told = quiet(mine)
    whole = batches(dataset, 6)
    (mine.parent / "clip4.mp4").write_bytes(b"nothing")
    replaced = [dataset.batch(number) for number in (5, 0, 1, 2, 3, 4)]
    assert [failure.path.name for failure in told] == ["clip4.mp4"]
    assert sum(dataset.failures.counts.values()) == 1
    for batch in replaced:
        (before,) = [one for one in whole if one.keys[0][1:4] == batch.keys[0][1:4]]
        if not batch.broken:
            assert same(batch, before)
            continue
        place = next(
            p for p, c in enumerate(before.choices) if dataset.entries[c.entry].path.name == "clip4.mp4"
        )
        following = next(dataset.order.epoch(0).after(batch.keys[0].batch))
        assert batch.keys[place].row == following
        assert len(batch.keys) == len(before.keys)
        key = batch.keys[place]
        assert dataset.sample(key, batch.shape)[0] == batch.choices[place]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_replacement_is_the_same_in_any_process(mine):
    dataset, _ = quiet(mine)
    (mine.parent / "clip1.mp4").write_bytes(b"nothing")
    told = []
    loader = TrainingLoader(dataset, workers=2, context="fork", report=told.append)
    loaded = list(islice(loader, 12))
    assert all(same(batch, dataset.batch(number)) for number, batch in enumerate(loaded))
    assert [failure.path.name for failure in told] == ["clip1.mp4"]
    assert sum(loader.failures.counts.values()) == 2


def test_one_good_file_fills_its_bucket(mine):
    dataset, _ = quiet(mine)
    for number in (0, 2):
        (mine.parent / f"clip{number}.mp4").write_bytes(b"nothing")
    rows = [c.entry for b in batches(dataset, 6) for c in b.choices]
    assert sorted(rows) == [1, 3, 4, 4, 4, 5, 6, 7, 8]


def test_when_all_files_of_a_bucket_break_the_error_names_them(mine):
    dataset, _ = quiet(mine)
    for number in (0, 2, 4):
        (mine.parent / f"clip{number}.mp4").unlink()
    with pytest.raises(
        ValueError, match=r"^no file of a bucket can be read: row at line .*no such file.*; row"
    ):
        batches(dataset, 6)


def test_damage_of_any_kind_leaves_batches_of_good_files(mine):
    rows = entries(mine)
    whole = {path: path.read_bytes() for path in mine.parent.glob("*.*")}
    rng = np.random.default_rng(1)
    replaced = 0
    for _ in range(12):
        for victim in (mine.parent / "clip2.mp4", mine.parent / "control5.mp4", mine.parent / "picture0.png"):
            victim.write_bytes(mutate(whole[victim], rng))
        dataset, _ = quiet(tuple(replace_all_facts(row) for row in rows))
        for batch in batches(dataset, 6):
            assert len(batch.texts) == len(batch.pixels_BTCHW) == len(batch.control_BTCHW)
            assert batch.pixels_BTCHW.abs().max() <= 1
            replaced += len(batch.broken)
            for failure in batch.broken:
                assert "\n" not in failure.reason
                assert any(name in failure.reason for name in ("clip2", "control5", "clip5", "picture0"))
    assert replaced >= 6


def replace_all_facts(entry):
    """A row that says what its whole file is, so that damage shows only when a batch opens it."""
    if entry.type == "image":
        return replace(entry, facts=replace(entry.facts, height=80, width=120))
    number = int(entry.path.stem[-1])
    height, width = ((64, 96), (96, 64))[number % 2]
    return replace(entry, facts=replace(entry.facts, num_frames=20 + number, height=height, width=width))


def test_the_search_for_a_replacement_ends(mine, monkeypatch):
    from ea_data.training import dataset as module

    monkeypatch.setattr(module, "_MOST_REPLACEMENTS", 2)
    dataset, _ = quiet(mine)
    for number in (0, 2):
        (mine.parent / f"clip{number}.mp4").unlink()
    with pytest.raises(ValueError, match=r"^2 files of a bucket cannot be read: row at line "):
        batches(dataset, 6)


def test_a_row_that_was_left_out_has_no_facts(mine):
    (mine.parent / "clip2.mp4").unlink()
    dataset, _ = quiet(entries_of_missing(mine))
    with pytest.raises(ValueError, match=r"^row 2 was left out; allowed: rows that can be trained on"):
        dataset.known(2)


def entries_of_missing(manifest):
    return read_manifest(manifest, check_files=False).entries


def test_when_no_file_is_any_good_there_is_no_data_set(tmp_path):
    picture(tmp_path / "one.png", 32, 32, 1)
    rows = tuple(
        replace(entry, type="video")
        for entry in entries_of_names(tmp_path, ["one.png", "one.png", "one.png", "one.png"])
    )
    with pytest.raises(ValueError, match=r"no row can be trained on.*it is a png picture.*and 1 more$"):
        quiet(rows)
    with pytest.raises(ValueError, match=r"^no row can be trained on; allowed: 1 or more$"):
        quiet(())


def entries_of_names(folder, names):
    manifest = folder / "names.csv"
    manifest.write_text("file_path,text,type\n" + "".join(f"{name},text,image\n" for name in names))
    return read_manifest(manifest).entries


def test_a_control_video_of_another_length_is_named_with_its_video(mine):
    write_video(mine.parent / "control3.mp4", clip(22, 96, 64), crf=0)
    dataset, told = quiet(mine)
    batches(dataset, 6)
    assert len(told) == 1
    assert "control3.mp4 has 22 frames and" in told[0].reason
    assert "clip3.mp4 23; allowed: as many as the video" in told[0].reason


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("control3.mp4", lambda path: write_video(path, clip(23, 64, 64), crf=0)),
        ("drawing1.png", lambda path: picture(path, 80, 80, 3)),
    ],
)
def test_a_control_file_of_another_shape_is_named_with_its_file(mine, name, make):
    make(mine.parent / name)
    dataset, told = quiet(mine)
    batches(dataset, 6)
    assert len(told) == 1
    assert f"{name} is " in told[0].reason
    assert told[0].reason.endswith("allowed: the same proportions")


def test_a_row_without_control_is_left_out_of_control_training(manifest):
    rows = (*entries(manifest)[:3], *entries_of(manifest, control_file_path=None)[3:])
    dataset, told = quiet(rows)
    assert len(told) == 6
    assert "has no control_file_path" in told[0].reason
    assert {c.entry for b in batches(dataset, 6) for c in b.choices} == {0, 1, 2}


def test_videos_that_are_too_short_are_left_out(manifest):
    _, told = quiet(manifest, replace(RECIPE, clip=ClipOptions(stride=2, min_frames=9)))
    assert [failure.path.name for failure in told] == ["clip0.mp4", "clip1.mp4", "clip2.mp4"]
    assert "20 frames give a clip of 8; allowed: clip.min_frames, 9, or more" in told[0].reason
    _, told = quiet(manifest, replace(RECIPE, clip=ClipOptions(stride=30)))
    assert len(told) == 6
    assert "no frame is left at stride 30" in told[0].reason


def test_a_video_shorter_than_its_row_says_is_named(manifest):
    facts = replace(entries(manifest)[0].facts, num_frames=2000, height=64, width=96)
    rows = (replace(entries(manifest)[0], facts=facts), *entries(manifest)[2:3])
    dataset, told = quiet(rows)
    assert dataset.known(0).frames == 2000
    batch = dataset.batch(0)
    assert "clip0.mp4 has 20 frames, its clip needs frame" in told[0].reason
    assert [choices.entry for choices in batch.choices] == [1, 1]


def test_by_default_a_broken_file_warns(mine):
    (mine.parent / "clip2.mp4").write_bytes(b"nothing")
    with pytest.warns(BrokenSampleWarning, match=r"row at line \d+: cannot read .*clip2\.mp4"):
        TrainingDataset(entries(mine), RECIPE)


def test_reading_that_takes_too_long_is_given_up(mine, monkeypatch):
    import time

    from ea_data.training import reading

    recipe = replace(RECIPE, clip=ClipOptions(timeout=0.5), control="none")
    dataset, told = quiet(mine, recipe)
    read = reading.read_image

    def slow(path, **options):
        if path.name == "picture1.png":
            time.sleep(3)
        return read(path, **options)

    monkeypatch.setattr(reading, "read_image", slow)
    begin = time.monotonic()
    pictures = [batch for batch in batches(dataset, 6) if batch.kind == "image"]
    assert time.monotonic() - begin < 3
    assert "picture1.png: not done within 0.5 s" in told[0].reason
    assert sorted(c.entry for b in pictures for c in b.choices) in ([6, 6, 8], [6, 8, 8])


def test_a_video_of_one_frame_is_no_clip(mine):
    write_video(mine.parent / "clip0.mp4", clip(1, 64, 96), crf=0)
    _, told = quiet(mine)
    assert "total_frames is 1: no frame is left" in told[0].reason


def test_what_is_told_here_is_not_sent_to_another_process(mine):
    (mine.parent / "clip2.mp4").write_bytes(b"nothing")
    dataset = TrainingDataset(entries(mine), RECIPE, report=lambda failure: None)
    sent = pickle.loads(pickle.dumps(dataset))
    assert sent.failures.counts == dataset.failures.counts
    (mine.parent / "clip4.mp4").write_bytes(b"nothing")
    with pytest.warns(BrokenSampleWarning, match=r"clip4\.mp4"):
        batches(sent, 6)
