"""The data set folder and the command."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ea_data import cli
from ea_data.manifest import read_manifest
from ea_data.media import MediaError, read_frames, read_metadata
from ea_data.synthetic import SyntheticDataset
from ea_data.synthetic.export import write_dataset


def test_a_folder_of_clips(tmp_path: Path) -> None:
    data = SyntheticDataset(0, 5, 32, 32, length=3)
    done: list[tuple[int, int]] = []
    path = write_dataset(tmp_path / "set", data, progress=lambda *state: done.append(state))
    entries = read_manifest(path).entries
    assert [entry.text for entry in entries] == [data[index]["text"] for index in range(3)]
    assert {entry.type for entry in entries} == {"video"}
    assert done == [(1, 3), (2, 3), (3, 3)]
    for index, entry in enumerate(entries):
        frames = read_frames(entry.path)
        assert frames.shape == (5, 32, 32, 3)
        assert np.abs(frames.astype(int) - data[index]["video"]).mean() < 8
        assert json.loads(read_metadata(entry.path) or "")["text"] == entry.text


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    data = SyntheticDataset(0, 1, 32, 48, length=2)
    entries = read_manifest(write_dataset(tmp_path / "set", data)).entries
    assert [entry.type for entry in entries] == ["image", "image"]
    assert np.array_equal(read_frames(entries[1].path), data[1]["video"])


def test_an_interrupted_run_continues(tmp_path: Path) -> None:
    data = SyntheticDataset(0, 3, 32, 32, length=4)

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", data, progress=stop)
    assert not (tmp_path / "set" / "metadata.jsonl").exists()
    first = tmp_path / "set" / "videos" / "0000000.mp4"
    stamp = first.stat().st_mtime_ns
    assert len(read_manifest(write_dataset(tmp_path / "set", data)).entries) == 4
    assert first.stat().st_mtime_ns == stamp


def test_other_parameters_are_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", SyntheticDataset(0, 1, 32, 32, length=1))
    with pytest.raises(MediaError, match="other parameters"):
        write_dataset(tmp_path / "set", SyntheticDataset(1, 1, 32, 32, length=1))
    with pytest.raises(MediaError, match="does not exist"):
        write_dataset(tmp_path / "absent" / "set", SyntheticDataset(0, 1, 32, 32, length=1))
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="cannot write"):
        write_dataset(tmp_path / "file", SyntheticDataset(0, 1, 32, 32, length=1))


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    assert (
        cli.main(
            ["synth", str(folder), "--count", "2", "--size", "64x64", "--frames", "9", "--two-shapes", "0"]
        )
        == 0
    )
    assert capsys.readouterr().out.strip() == str(folder / "metadata.jsonl")
    clip = str(folder / "videos" / "0000001.mp4")
    assert cli.main(["probe", clip]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 9
    assert cli.main(["probe", "--metadata", clip]) == 0
    scene = json.loads(capsys.readouterr().out)["scene"]
    assert cli.main(["judge", clip]) == 0
    (found,) = json.loads(capsys.readouterr().out)["objects"]
    assert {key: found[key] for key in ("shape", "colour", "motion")}.items() <= scene["shapes"][0].items()
    assert cli.main(["check", str(folder / "metadata.jsonl")]) == 0
    assert "2 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["probe", "absent.mp4"], "absent.mp4: no such file"),
        (["judge", "."], "not a regular file"),
        (["check", "absent.json"], "No such file"),
        (["synth", "out", "--size", "64"], "--size is '64'; allowed: WIDTHxHEIGHT"),
        (["synth", "out", "--size", "4x64"], "--size is '4x64'; allowed"),
        (["synth", "out", "--count", "0"], "length is 0"),
        (["synth", "out", "--frames", "0"], "num_frames is 0"),
        (["synth", "out", "--two-shapes", "2"], "two_shapes is 2.0"),
        (["synth", "out", "--seed", "-1"], "seed is -1"),
        (["synth", "out", "--count", "1", "--fps", "0"], "fps is 0"),
        (["synth", "absent/out"], "does not exist"),
        (["synth", "out", "--size", "100000x100000"], "--size is '100000x100000'; allowed: WIDTHxHEIGHT"),
        (["synth", "out", "--size", "٦٤x64"], "each from 8 to 4096"),
        (["trajectory", "a.json", "a.mp4", "--size", "100000x100000"], "each from 16 to 4096"),
        (["trajectory", "a.json", "a.mp4", "--size", "0x0"], "--size is '0x0'; allowed: WIDTHxHEIGHT"),
        (["trajectory", "a.json", "a.mp4", "--size", "9" * 5000], "--size is '9999"),
        (["trajectory", "a.json", "a.mp4", "--frames", "1026"], "--frames is 1026; allowed: 1 to 1025"),
        (
            ["trajectory", "a.json", "a.mp4", "--size", "4096x4096", "--frames", "65"],
            "--frames is 65; allowed at 4096x4096: 1 to 64",
        ),
        (["trajectory", "a.json", "absent/a.mp4"], "the folder absent does not exist"),
        (["camera", "pan left", "--fps", "nan"], "--fps is nan; allowed: numbers above 0"),
        (["camera", "pan left", "--fps", "inf"], "--fps is inf; allowed: numbers above 0"),
        (["camera", "pan left", "--fps", "0"], "--fps is 0; allowed: numbers above 0"),
    ],
)
def test_mistakes_are_one_line_and_exit_two(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.startswith(f"ea-data {arguments[0]}: error: ")


def test_unknown_options_exit_two() -> None:
    for arguments in (["synth", "out", "--split", "test"], ["paint"], []):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 2


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(MediaError):
        cli.main(["--debug", "probe", str(tmp_path / "absent.mp4")])


def test_help_starts_quickly() -> None:
    begin = time.monotonic()
    shown = subprocess.run(
        [sys.executable, "-m", "ea_data.cli", "--help"], capture_output=True, check=True, text=True
    )
    assert time.monotonic() - begin < 2  # 0.1 s on an idle core; the margin is for a busy one
    assert "synth" in shown.stdout
    code = (
        "import sys, ea_data.cli; ea_data.cli.build_parser(); "
        "assert not {'numpy', 'av', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_check_names_every_wrong_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"file_path": "absent"}\n' * 15 + '{"file_path": "list.jsonl"}\n', encoding="utf-8")
    assert cli.main(["check", str(path)]) == 1
    *rows, last = capsys.readouterr().err.splitlines()
    assert rows == [f"{path}:{line}: no such file: absent" for line in range(1, 16)]
    assert last == "ea-data check: error: 15 of 16 rows wrong"
    path.write_text("", encoding="utf-8")
    assert cli.main(["check", str(path)]) == 1
    errors = capsys.readouterr().err
    assert errors == f"{path}:1: no rows\nea-data check: error: no rows; allowed: 1 or more\n"


@pytest.mark.parametrize(
    "arguments", [["control", "foo"], ["camera", "pan left", "--no-such-option"], ["fly"], []]
)
def test_wrong_arguments_are_one_line_too(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("ea-data")
    assert ": error: " in err


def test_too_little_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("Unable to allocate 252. GiB")

    monkeypatch.setattr(cli, "_camera", fail)
    assert cli.main(["camera", "pan left"]) == 2
    assert capsys.readouterr().err == "ea-data camera: error: not enough memory\n"
