"""Manifests: three formats, and every wrong row named by file and line."""

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ea_data.manifest import (
    MAX_TEXT,
    BadRow,
    Entry,
    Facts,
    ManifestError,
    iter_manifest,
    read_manifest,
    resolve_inside,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two files, one in a sub-folder."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"a")
    (tmp_path / "b.png").write_bytes(b"b")
    return tmp_path


ROWS = [
    {
        "file_path": "videos/a.mp4",
        "text": "a red circle, 红色",
        "type": "video",
        "fps": "8",
        "source": "mine",
    },
    {"file_path": "b.png", "text": "", "type": "image", "fps": "", "source": ""},
]


def _write(root: Path, suffix: str) -> Path:
    path = root / f"metadata.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps(ROWS, indent=2), encoding="utf-8")
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    else:
        path.write_text(
            'file_path,text,type,fps,source\nvideos/a.mp4,"a red circle, 红色",video,8,mine\n'
            "b.png,,image,,\n",
            encoding="utf-8",
        )
    return path


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_three_formats_agree(root: Path, suffix: str, mark: str) -> None:
    path = _write(root, suffix)
    path.write_text(mark + path.read_text(encoding="utf-8"), encoding="utf-8")
    entries = read_manifest(path).entries
    assert [entry.path for entry in entries] == [root / "videos" / "a.mp4", root / "b.png"]
    assert [entry.text for entry in entries] == ["a red circle, 红色", ""]
    assert [entry.type for entry in entries] == ["video", "image"]
    assert [entry.facts for entry in entries] == [Facts(fps=8.0), Facts()]
    assert [entry.extra["source"] for entry in entries] == ["mine", ""]


def test_absolute_paths_and_another_root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "list.json"
    other.write_text(
        json.dumps([{"file_path": str(root / "b.png"), "text": "", "type": "image"}]), encoding="utf-8"
    )
    assert read_manifest(other).entries[0].path == root / "b.png"
    other.write_text(json.dumps([{"file_path": "b.png", "type": "image"}]), encoding="utf-8")
    assert read_manifest(other, root=root).entries[0].path == root / "b.png"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"text": "x"}', "file_path is missing"),
        ('{"file_path": 3}', "file_path is int; allowed: text"),
        ('{"file_path": "b.png", "text": ["x"]}', "text is list"),
        ('{"file_path": "b.png", "type": "audio"}', "type is 'audio'; allowed: video, image"),
        ('{"file_path": "absent.png"}', "no such file: absent.png"),
        ('{"file_path": ""}', "empty"),
        ('{"file_path": "b\\u0000.png"}', "NUL"),
        ('{"file_path": "\\ud800.png"}', "cannot be used"),
        ('{"file_path": "../b.png"}', "contains '..'"),
        ('{"file_path": "videos/../b.png"}', "contains '..'"),
        ('{"file_path": "videos\\\\..\\\\b.png"}', "contains '..'"),
        ('{"file_path": "link/secret"}', "leaves the root folder through a link"),
        ('{"file_path": "b.png", "file_path": "a.png"}', "appears twice"),
        ('{"file_path": "b.png", "score": NaN}', "NaN is not a JSON value"),
        ('{"file_path": "b.png"', "not JSON"),
        ('{"file_path": "b.png"} {}', "more than one value"),
        ('{"file_path": "b.png", "path": "b.png"}', "both file_path and path are given"),
        ('{"file_path": "b.png", "text": "\\ud800"}', "text cannot be used"),
        ('{"file_path": "b.png", "control_file_path": "absent.mp4"}', "no such file: absent.mp4"),
        ('{"file_path": "b.png", "control_file_path": "../b.png"}', "control_file_path contains '..'"),
        ('{"file_path": "b.png", "height": "tall"}', "height is 'tall'; allowed: whole numbers from 1"),
        ('{"file_path": "b.png", "width": 0}', "width is 0; allowed: whole numbers from 1"),
        ('{"file_path": "b.png", "num_frames": 1.5}', "num_frames is 1.5; allowed: whole numbers from 1"),
        ('{"file_path": "b.png", "num_frames": true}', "num_frames is 'True'"),
        ('{"file_path": "b.png", "fps": -1}', "fps is -1; allowed: numbers above 0"),
        ('{"file_path": "b.png", "fps": 1e999}', "fps is inf; allowed: numbers above 0"),
        ('["b.png"]', "a row must be an object"),
        ("[" * 100_000, "not JSON"),
        ('{"file_path": "b.png", "n": ' + "9" * 10_000 + "}", "thousands of digits; allowed: at most 4300"),
        (json.dumps({"file_path": "b.png", "text": "x" * (MAX_TEXT + 1)}), "text has 20001 characters"),
    ],
)
def test_wrong_rows_are_named_and_the_others_kept(
    root: Path, tmp_path_factory: pytest.TempPathFactory, row: str, message: str
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("x")
    (root / "link").symlink_to(outside)
    path = root / "metadata.jsonl"
    good = json.dumps(ROWS[0])
    path.write_text(f"{good}\n\n{row}\n{good}\n", encoding="utf-8")
    manifest = read_manifest(path, keep_going=True)
    assert [entry.line for entry in manifest.entries] == [1, 4]
    (error,) = manifest.errors
    assert error.startswith(f"{path}:3: ")
    assert message in error
    with pytest.raises(ManifestError, match=r"metadata\.jsonl:3"):
        read_manifest(path)


def test_lines_of_a_json_list(root: Path) -> None:
    path = root / "metadata.json"
    path.write_text('[\n {"file_path": "b.png"},\n {"file_path":\n  "absent"}\n]\n', encoding="utf-8")
    assert read_manifest(path, keep_going=True).errors == (f"{path}:3: no such file: absent",)


@pytest.mark.parametrize(
    ("suffix", "content", "line", "message"),
    [
        ("json", "", 1, "must be a list"),
        ("json", '{"file_path": "b.png"}', 1, "must be a list"),
        ("json", '[\n{"file_path": "b.png"}\n{}]', 3, "',' or ']' expected"),
        ("json", '[{"file_path": "b.png"}', 1, "',' or ']' expected"),
        ("json", '[{"file_path": "b.png"}]\nx', 2, "text after the list"),
        ("json", "[\n\n{]", 3, "not JSON"),
        ("json", "[]", 1, "no rows"),
        ("jsonl", "\n\n", 1, "no rows"),
        ("csv", "file_path;text\nb.png;x\n", 1, "seem to be separated by semicolons, allowed: commas"),
        ("csv", "file_path\ttext\nb.png\tx\n", 1, "seem to be separated by tabs, allowed: commas"),
        ("csv", "file,text\nb.png,x\n", 1, "columns must be named once each, file_path"),
        ("csv", "file_path,file_path\nb.png,x\n", 1, "found: file_path, file_path"),
        ("csv", "file_path,path\nb.png,x\n", 1, "found: file_path, path"),
        ("csv", "file_path,text\nb.png,x,y\n", 2, "3 columns; expected 2"),
        ("csv", 'file_path,text\nb.png,"x\ny"\nabsent,"z"\n', 4, "no such file"),
        ("csv", 'file_path,text\nb.png,"x\n', 2, "not CSV"),
    ],
)
def test_wrong_files(root: Path, suffix: str, content: str, line: int, message: str) -> None:
    path = root / f"metadata.{suffix}"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ManifestError, match=rf"metadata\.{suffix}:{line}: ") as caught:
        read_manifest(path)
    assert message in str(caught.value)


def test_unreadable_manifests(root: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        read_manifest(root / "absent.json")
    with pytest.raises(ManifestError, match=r"allowed: \.json, \.jsonl, \.csv"):
        read_manifest(root / "b.png")
    (root / "latin.csv").write_bytes(b"file_path\n\xff\n")
    with pytest.raises(ManifestError, match=r"latin\.csv:2: not UTF-8 at byte 0 of the line"):
        read_manifest(root / "latin.csv")
    with pytest.raises(ManifestError, match=r"root folder .* does not exist"):
        read_manifest(_write(root, "json"), root=root / "absent")


def test_many_wrong_rows_are_counted(root: Path) -> None:
    path = root / "metadata.jsonl"
    path.write_text("{}\n" * 25, encoding="utf-8")
    with pytest.raises(ManifestError, match="and 15 more wrong rows"):
        read_manifest(path)


SORA = """path,text,num_frames,height,width,aspect_ratio,fps,resolution,aes,cmotion
videos/a.mp4,"a, b",64.0,720,1280,0.5625,23.976,921600,5.1,pan left
b.png,,1,512,512,1.0,nan,262144,,
"""


def test_columns_of_open_sora(root: Path) -> None:
    (root / "sora.csv").write_text(SORA, encoding="utf-8")
    first, second = read_manifest(root / "sora.csv").entries
    assert (first.path, first.text, first.type) == (root / "videos" / "a.mp4", "a, b", "video")
    assert first.facts == Facts(num_frames=64, height=720, width=1280, fps=23.976)
    assert first.extra == {"aspect_ratio": 0.5625, "resolution": 921600, "aes": 5.1, "cmotion": "pan left"}
    assert second.type == "image"
    assert second.facts == Facts(num_frames=1, height=512, width=512)
    assert second.extra == {"aspect_ratio": 1, "resolution": 262144, "aes": None, "cmotion": ""}


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"file_path": "clip.mp4"}, "video"),
        ({"file_path": "clip.MKV"}, "video"),
        ({"file_path": "b.png"}, "image"),
        ({"file_path": "b.webp"}, "image"),
        ({"file_path": "b.webp", "type": "video"}, "video"),
        ({"file_path": "b.webp", "num_frames": 9}, "video"),
        ({"file_path": "clip.mp4", "num_frames": 1}, "image"),
        ({"file_path": "b", "type": ""}, "image"),
        ({"file_path": "b", "type": None, "text": None}, "image"),
    ],
)
def test_a_row_without_a_type(root: Path, row: dict[str, object], kind: str) -> None:
    path = root / "list.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    assert read_manifest(path, check_files=False).entries[0].type == kind


def test_control_files(root: Path) -> None:
    path = root / "list.csv"
    path.write_text("file_path,control_file_path\nb.png,videos/a.mp4\nb.png,\n", encoding="utf-8")
    assert [e.control_path for e in read_manifest(path).entries] == [root / "videos" / "a.mp4", None]


def test_links_and_folders(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("x")
    (root / "inside").symlink_to(root / "videos")
    (root / "leaf").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    assert resolve_inside(root, "inside/a.mp4") == root / "videos" / "a.mp4"
    assert resolve_inside(root, "./videos//a.mp4") == root / "videos" / "a.mp4"
    for name in ("leaf", "folder/secret", "folder/absent", "inside/../leaf"):
        with pytest.raises(ValueError, match=r"leaves the root folder|contains '\.\.'"):
            resolve_inside(root, name)


def test_a_broken_csv_row_swallows_no_other(root: Path) -> None:
    path = root / "list.csv"
    lines = ["file_path,text", "b.png,one", 'b.png,"open', "b.png,two", 'b.png,"three"', "b.png,four"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    manifest = read_manifest(path, keep_going=True)
    assert [entry.text for entry in manifest.entries] == ["one", "two", "three", "four"]
    assert [error.split(": ")[0] for error in manifest.errors] == [f"{path}:3"]


def test_a_broken_value_of_a_json_list_swallows_no_other(root: Path) -> None:
    path = root / "list.json"
    rows = [
        '{"file_path": "b.png", "text": "one"}',
        '{"file_path": "b.png", "text": "]}" "}',
        "{file_path: 3}",
    ]
    path.write_text(",\n".join(["[1", *rows, '{"file_path": "b.png"}, ]']), encoding="utf-8")
    manifest = read_manifest(path, keep_going=True)
    assert [entry.line for entry in manifest.entries] == [2, 5]
    assert [error.split(":")[1] for error in manifest.errors] == ["1", "3", "4", "5"]
    path.write_bytes(b'[{"file_path": "b.png", "text": "\xff"},\n{"file_path": "b.png"}]')
    manifest = read_manifest(path, keep_going=True)
    assert manifest.errors == (f"{path}:1: not UTF-8",)
    assert len(manifest.entries) == 1


def test_json_values_that_end_at_the_end_of_a_piece(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ea_data.manifest.json_rows._CHUNK", 3)
    rows = [
        {"file_path": "b.png", "text": '圆 \\ " ]}' * 9, "n": number, "deep": [[{}]]} for number in range(40)
    ]
    path = root / "list.json"
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    assert [entry.extra["n"] for entry in read_manifest(path).entries] == list(range(40))


def test_lines_without_end(root: Path) -> None:
    path = root / "list.jsonl"
    path.write_bytes(b'{"file_path": "b.png"}\n' + b"x" * (9 << 20) + b'\n{"file_path": "b.png"}\n')
    first, second, third = iter_manifest(path)
    assert isinstance(first, Entry)
    assert str(second) == f"{path}:2: the line is too long; allowed: at most {1 << 22} bytes"
    assert isinstance(third, Entry)
    assert third.line == 3


def test_parquet(root: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "path": ["videos/a.mp4", "b.png", None, "absent"],
        "text": ["红", None, "", ""],
        "num_frames": [9, 1, None, 3],
        "aes": [5.5, float("nan"), None, 1.0],
    }
    path = root / "list.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    manifest = read_manifest(path, keep_going=True)
    assert [(e.type, e.text, e.line, e.facts.num_frames, e.extra["aes"]) for e in manifest.entries] == [
        ("video", "红", 1, 9, 5.5),
        ("image", "", 2, 1, None),
    ]
    assert manifest.errors == (f"{path}:3: file_path is missing", f"{path}:4: no such file: absent")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ManifestError, match=r"list\.parquet:1: not parquet from here on: "):
        read_manifest(path)
    parquet.write_table(pyarrow.table({"file": ["b.png"]}), path)
    with pytest.raises(ManifestError, match="columns must be named once each"):
        read_manifest(path)


def test_parquet_without_its_library(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (root / "list.parquet").write_bytes(b"PAR1")
    with pytest.raises(ManifestError, match=r"pip install 'ea-data\[parquet\]'"):
        read_manifest(root / "list.parquet")


WRONG = [
    lambda i: {"text": f"{i}"},
    lambda i: {"file_path": f"absent {i}"},
    lambda i: {"file_path": "../b.png"},
    lambda i: {"file_path": "b.png", "type": f"kind {i}"},
    lambda i: {"file_path": "b.png", "text": "x" * (MAX_TEXT + 1 + i % 9)},
    lambda i: {"file_path": "b.png", "height": f"{i}x"},
    lambda i: {"file_path": "b.png", "num_frames": -i},
    lambda i: {"file_path": ""},
]


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_a_thousand_wrong_rows_are_named_and_none_is_lost(root: Path, suffix: str) -> None:
    rng = random.Random(suffix)
    wrong = set(rng.sample(range(3000), 1000))
    rows = [
        rng.choice(WRONG)(number + 1) if number in wrong else {"file_path": "b.png", "text": f"{number}\n"}
        for number in range(3000)
    ]
    path = root / f"list.{suffix}"
    _write_rows(path, rows, rng, wrong)
    found = list(iter_manifest(path))
    assert len(found) == 3000
    assert {place for place, row in enumerate(found) if isinstance(row, BadRow)} == wrong
    assert [row.text.strip() for row in found if isinstance(row, Entry)] == [
        str(number) for number in range(3000) if number not in wrong
    ]
    lines = [row.line for row in found]
    assert lines == sorted(set(lines))
    text = path.read_bytes().decode(errors="replace").split("\n")
    for number in sorted(wrong)[:50]:
        row = rows[number]
        assert "file_path" not in row or row["file_path"][:9] in text[lines[number] - 1]


def _write_rows(path: Path, rows: list[dict[str, object]], rng: random.Random, wrong: set[int]) -> None:
    """Some of the wrong rows are broken further, in the way of their format."""
    if path.suffix == ".csv":
        names = ["file_path", "text", "type", "height", "num_frames"]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            for number, row in enumerate(rows):
                if number in wrong and rng.random() < 0.3:
                    file.write(
                        rng.choice(['b.png,"open,,,\n', "b.png,x\n", 'b.png,"a"b,,,\n', "b.png,,,,,,\n"])
                    )
                    rows[number] = {"file_path": "b.png"}
                else:
                    writer.writerow(row)
        return
    texts = [json.dumps(row) for row in rows]
    for number in sorted(wrong):
        if rng.random() < 0.3:
            texts[number] = rng.choice(['{"file_path": b.png}', '["b.png"]', '{"file_path": NaN}', "{}"])
            rows[number] = {}
    path.write_text("[" + ",\n".join(texts) + "]" if path.suffix == ".json" else "\n".join(texts))


@pytest.mark.parametrize(
    "suffix", ["json", *(pytest.param(name, marks=pytest.mark.slow) for name in ("jsonl", "csv"))]
)
def test_reading_needs_the_memory_of_a_few_rows(tmp_path: Path, suffix: str) -> None:
    count = 150_000
    row = {"file_path": "videos/a.mp4", "text": "x" * 150}
    line = json.dumps(row)
    text = {
        "json": "[" + ",\n".join([line] * count) + "]",
        "jsonl": (line + "\n") * count,
        "csv": "file_path,text\n" + f"videos/a.mp4,{'x' * 150}\n" * count,
    }[suffix]
    path = tmp_path / f"list.{suffix}"
    path.write_text(text)
    script = """
import resource, sys
from ea_data.manifest import iter_manifest
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
for count, row in enumerate(iter_manifest(sys.argv[1], check_files=False), start=1):
    if count == 20_000:
        begin = peak()
print(count, peak() - begin)
"""
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, grown = map(int, done.stdout.split())
    assert found == count
    assert grown < 5e6


def test_a_pipe_is_no_manifest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.json")
    with pytest.raises(ManifestError, match=r"rows\.json: no file$"):
        read_manifest(tmp_path / "rows.json")


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("column", ["file_path", "control_file_path"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x" * 6000 + ".mp4", "File name too long"),
        ("x/" * 3000 + "a.mp4", "File name too long"),
        ("loop.mp4", "a loop of links"),
        ("folder", "not a regular file"),
        ("pipe", "not a regular file"),
    ],
)
def test_a_path_that_cannot_be_looked_at_costs_its_row_alone(
    root: Path, name: str, reason: str, column: str, absolute: bool
) -> None:
    (root / "loop.mp4").symlink_to("loop.mp4")
    (root / "folder").mkdir()
    os.mkfifo(root / "pipe")
    bad = {"file_path": "b.png", column: str(root / name) if absolute else name}
    rows = [{"file_path": "b.png"}, bad, {"file_path": "b.png"}]
    (root / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, found, last = iter_manifest(root / "list.jsonl")
    assert isinstance(first, Entry)
    assert isinstance(last, Entry)
    assert isinstance(found, BadRow)
    assert found.line == 2
    assert reason in found.reason
    assert len(found.reason) < 300
