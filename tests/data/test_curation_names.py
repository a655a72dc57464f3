"""Files of any name become clips that have names of their own."""

import json

import numpy as np
import pytest
from curation_corpus import FPS, SCENE, pan
from curation_workers import rows_of

from ea_data.curation.curate import Engines, curate
from ea_data.curation.listing import ListOptions, list_rows
from ea_data.curation.names import short_name
from ea_data.curation.plan import plan_of
from ea_data.media import MediaError, write_video

INLINE = Engines(name="inline")


@pytest.fixture(scope="module")
def clip():
    return pan(1, 26, height=64, width=96)


def test_names_that_meet(tmp_path, clip):
    source = tmp_path / "in"
    (source / "a").mkdir(parents=True)
    (source / "b").mkdir()
    joined = np.concatenate(
        (pan(5, SCENE, height=64, width=96), pan(6, SCENE, height=64, width=96) // 2 + 100)
    )
    write_video(source / "a.mp4", joined, fps=FPS)  # becomes a/a_0.mp4 and a/a_1.mp4
    for number, name in enumerate(
        ("a/a_0.mp4", "a/a_1.mp4.mp4", "b/same.mp4", "same.mp4", "x.mp4", f"{'ü' * 120}.mp4", "sp ace 中.mp4")
    ):
        write_video(source / name, np.roll(clip, 7 * number, axis=2), fps=FPS)
    (source / "x.mov").write_bytes((source / "x.mp4").read_bytes()[:-1] + b"\0")
    plan = plan_of("p", {"stages": [{"probe": {"least_pixels": 1}}, "scenes", "cut"]})
    report = curate(plan, source, tmp_path / "out", engines=INLINE, samples=0)
    rows = rows_of(tmp_path / "out" / "metadata.jsonl")
    assert report.kept == len(rows) == 10
    assert len({row["file_path"].lower() for row in rows}) == 10
    assert all((tmp_path / "out" / row["file_path"]).is_file() for row in rows)
    assert {row["source"] for row in rows} == {
        path.relative_to(source).as_posix() for path in source.rglob("*.m*")
    }
    again = curate(plan, source, tmp_path / "out", engines=INLINE, samples=0)
    assert [count.measured for count in again.counts] == [0, 0, 0, 0]
    assert rows_of(tmp_path / "out" / "metadata.jsonl") == rows


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", "plain"),
        ("a b", "a b"),
        ("中文", "中文"),
        ("dot.", "dot"),
        ("x:y", "x_y"),
        ("new\nline", "new_line"),
    ],
)
def test_short_names(name, expected):
    found = short_name(name, 40)
    assert found == expected if name == expected else found.startswith(f"{expected}-")
    assert len(short_name("é" * 300, 40).encode()) <= 40
    assert short_name("é" * 300, 40) != short_name("é" * 301, 40)


def test_captions_and_classes_that_come_with_files(tmp_path, clip):
    (tmp_path / "ApplyEyeMakeup").mkdir()
    for name in ("10.mp4", "2.mp4"):
        write_video(tmp_path / "ApplyEyeMakeup" / name, clip[:4], fps=FPS)
    (tmp_path / "ApplyEyeMakeup" / "2.txt").write_text("A  face\nin a mirror\n", encoding="utf-8")
    first, second = list_rows(tmp_path, ListOptions(classes=True))
    assert (first.name, first.columns["text"], first.columns["class"]) == (
        "ApplyEyeMakeup/2.mp4", "A face in a mirror", "apply eye makeup",
    )  # fmt: skip
    assert "text" not in second.columns
    (named, _) = list_rows(tmp_path, ListOptions(classes=True, class_names={"ApplyEyeMakeup": "make-up"}))
    assert named.columns["class"] == "make-up"


def test_a_manifest_as_the_list(tmp_path, clip):
    write_video(tmp_path / "a.mp4", clip[:4], fps=FPS)
    rows = [
        {"file_path": "a.mp4", "text": "A cat.", "type": "video"},
        {"file_path": "no.mp4", "text": ""},
        {"text": "x"},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list_rows(tmp_path / "m.jsonl", ListOptions())
    assert [row.fate is None for row in found] == [True, False, False]
    assert found[0].columns["text"] == "A cat."
    assert [row.name for row in found[1:]] == ["m.jsonl:2", "m.jsonl:3"]
    assert "file_path is missing" in found[2].fate.reason


@pytest.mark.parametrize("case", ["empty", "missing", "kind"])
def test_lists_that_are_refused(case, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK")
    place = {"empty": tmp_path, "missing": tmp_path / "no", "kind": tmp_path / "x.zip"}[case]
    with pytest.raises(
        MediaError, match=r"has nothing to begin|no such file|neither a folder nor a manifest"
    ):
        list_rows(place, ListOptions())
