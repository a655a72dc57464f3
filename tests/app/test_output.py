"""Results appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ea_app.api.output import check_output, default_output, record_path, staged
from ea_app.options import InputError


def test_names():
    assert record_path(Path("a/out.mp4")) == Path("a/out.mp4.json")
    assert default_output(1) == Path("out.png")
    assert default_output(2) == Path("out.mp4")
    assert default_output(2, "png") == Path("out.zip")
    assert default_output(1, "png") == Path("out.png")
    assert default_output(1, "webm") == Path("out.webm")


def test_checking_leaves_nothing(tmp_path):
    assert check_output(tmp_path / "a.MP4", 5) == tmp_path / "a.MP4"
    assert check_output(str(tmp_path / "a.png"), 1).name == "a.png"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.avi", "a", ".mp4", "a.mp4.txt"])
def test_unknown_suffixes(name, tmp_path):
    with pytest.raises(
        InputError, match=r"^output: must end with one of .mp4, .webm, .gif, .webp, .png, .zip; got"
    ):
        check_output(tmp_path / name, 5)


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "taken.mp4.json").mkdir()
    with pytest.raises(InputError, match=r"^output: the folder .* does not exist"):
        check_output(tmp_path / "none" / "a.mp4", 5)
    with pytest.raises(InputError, match=r"^output: .*/file is a file, not a folder to write in"):
        check_output(tmp_path / "file" / "a.mp4", 5)
    with pytest.raises(InputError, match=r"^output: the name is too long: 304 letters, more than the disk"):
        check_output(tmp_path / ("a" * 300 + ".mp4"), 5)
    with pytest.raises(InputError, match=r"^output: the name is too long: 250 letters"):
        check_output(tmp_path / ("a" * 246 + ".mp4"), 5)
    with pytest.raises(InputError, match=r"^output: .*folder.mp4 exists and is no file"):
        check_output(tmp_path / "folder.mp4", 5)
    with pytest.raises(InputError, match=r"^output: .*taken.mp4.json exists and is no file"):
        check_output(tmp_path / "taken.mp4", 5)
    with pytest.raises(InputError, match=r"^output: .png holds one frame, not 5"):
        check_output(tmp_path / "a.png", 5)


def test_a_folder_without_permission(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(InputError, match=r"^output: cannot write in .*: Permission denied"):
        check_output(tmp_path / "a.mp4", 5)


def test_both_files_appear(tmp_path):
    target = tmp_path / "a.mp4"
    target.write_text("old")
    with staged(target, {"text": "红"}) as temporary:
        assert temporary.suffix == ".mp4"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert json.loads((tmp_path / "a.mp4.json").read_text(encoding="utf-8")) == {"text": "红"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.mp4.json"]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [None, "old"])
def test_a_failure_leaves_what_was_there(error, before, tmp_path):
    target = tmp_path / "a.mp4"
    if before:
        target.write_text(before)
    with pytest.raises(error), staged(target, {}) as temporary:  # noqa: PT012  (the block is what fails)
        temporary.write_text("half")
        raise error
    assert [path.read_text() for path in tmp_path.iterdir()] == ([before] if before else [])


@pytest.mark.parametrize("before", [None, "old"])
def test_a_json_that_cannot_be_written_takes_the_result_back(before, tmp_path, monkeypatch):
    target = tmp_path / "a.mp4"
    if before:
        target.write_text(before)
    replace = Path.replace

    def refuse_json(self, other):
        if str(other).endswith("a.mp4.json"):
            raise OSError(28, "No space left on device")
        return replace(self, other)

    monkeypatch.setattr(Path, "replace", refuse_json)
    with pytest.raises(OSError, match="No space"), staged(target, {}) as temporary:
        temporary.write_text("new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ([before] if before else [])


def test_a_record_that_is_no_json_writes_nothing(tmp_path):
    with pytest.raises(TypeError), staged(tmp_path / "a.mp4", {"x": object()}) as temporary:
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == []
