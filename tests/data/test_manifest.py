"""Manifests: three formats, and every wrong row named by file and line."""

import json
import os
from pathlib import Path

import pytest

from ea_data.manifest import MAX_TEXT, ManifestError, read_manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two files, one in a sub-folder."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"a")
    (tmp_path / "b.png").write_bytes(b"b")
    return tmp_path


ROWS = [
    {"file_path": "videos/a.mp4", "text": "a red circle, 红色", "type": "video", "fps": "8"},
    {"file_path": "b.png", "text": "", "type": "image", "fps": ""},
]


def _write(root: Path, suffix: str) -> Path:
    path = root / f"metadata.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps(ROWS, indent=2), encoding="utf-8")
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    else:
        path.write_text(
            'file_path,text,type,fps\nvideos/a.mp4,"a red circle, 红色",video,8\nb.png,,image,\n',
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
    assert entries[0].extra == {"fps": "8"}


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
        ('["b.png"]', "a row must be an object"),
        ("[" * 100_000, "not JSON"),
        ('{"file_path": "b.png", "n": ' + "9" * 10_000 + "}", "not JSON"),
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
        ("csv", "path,text\nb.png,x\n", 1, "must name the columns"),
        ("csv", "file_path,file_path\nb.png,x\n", 1, "must name the columns"),
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
    with pytest.raises(ManifestError, match="not UTF-8 at byte 10"):
        read_manifest(root / "latin.csv")
    with pytest.raises(ManifestError, match=r"root folder .* does not exist"):
        read_manifest(_write(root, "json"), root=root / "absent")


def test_many_wrong_rows_are_counted(root: Path) -> None:
    path = root / "metadata.jsonl"
    path.write_text("{}\n" * 25, encoding="utf-8")
    with pytest.raises(ManifestError, match="and 15 more wrong rows"):
        read_manifest(path)


def test_a_pipe_is_no_manifest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.json")
    with pytest.raises(ManifestError, match=r"rows\.json: no file$"):
        read_manifest(tmp_path / "rows.json")
