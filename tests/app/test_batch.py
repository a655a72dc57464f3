"""`ea-app generate --prompts`: many prompts on one model."""

from __future__ import annotations

import pytest

from ea_app.api.record import read_record


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\ufeffa red circle\n\n  a blue square  \n一个绿色的星\n", encoding="utf-8")
    return path


@pytest.fixture
def loads(monkeypatch):
    """How often a model was loaded."""
    from ea_app.api.engine import Engine

    found, load = [], Engine.load
    monkeypatch.setattr(Engine, "load", lambda *given, **more: found.append(1) or load(*given, **more))
    return found


def _made(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir() if path.suffix not in (".json", ".txt"))


def test_a_result_for_every_line(command, prompts, loads, tmp_path):
    code, out, err = command("generate", "--prompts", prompts, "--seed", "3", "--steps", "1")
    assert code == 0
    assert _made(tmp_path) == ["sample_0.mp4", "sample_1.mp4", "sample_2.mp4"]
    assert len(loads) == 1
    assert "3 results of 3 prompts" in err
    assert [line.split()[1] for line in out.splitlines()] == [
        "sample_0.mp4:", "sample_1.mp4:", "sample_2.mp4:",
    ]  # fmt: skip
    records = [read_record(tmp_path / name) for name in _made(tmp_path)]
    assert [record["request"]["prompt"] for record in records] == [
        "a red circle", "a blue square", "一个绿色的星",
    ]  # fmt: skip
    assert [record["request"]["seed"] for record in records] == [3, 3, 3]
    alone = command("generate", "a blue square", "--seed", "3", "--steps", "1", "--output", "alone.mp4")
    assert alone[0] == 0
    assert command("diff", "alone.mp4", "sample_1.mp4")[:2] == (0, "identical frames\n")


def test_some_lines_several_samples_other_names(command, prompts, tmp_path):
    (tmp_path / "made").mkdir()
    given = ["--start-index", "1", "--end-index", "2", "--num-sample", "2", "--sample-name", "clip"]
    given += ["--save-dir", "made", "--format", "webp", "--seed", "7", "--steps", "1"]
    assert command("generate", "--prompts", prompts, *given)[0] == 0
    assert _made(tmp_path / "made") == ["clip_1-0.webp", "clip_1-1.webp"]
    seeds = [read_record(tmp_path / "made" / name)["request"]["seed"] for name in _made(tmp_path / "made")]
    assert seeds == [7, 8]


def test_files_may_be_named_after_prompts(command, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("../a/b: c?\n一个绿色的星\n", encoding="utf-8")
    given = ["--prompt-as-path", "--frames", "1", "--steps", "1", "--seed", "1"]
    assert command("generate", "--prompts", path, *given)[0] == 0
    assert _made(tmp_path) == sorted(["_a_b_ c_.png", "一个绿色的星.png"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--prompts", "none.txt"], "prompts: none.txt cannot be read"),
        (["--prompts", "{p}", "--start-index", "3"], "start-index: leaves no prompt: there are 3"),
        (["--prompts", "{p}", "--start-index", "x"], "start-index: must be a whole number from 0 to"),
        (["--prompts", "{p}", "--end-index", "0"], "end-index: must be a whole number from 1 to"),
        (["--prompts", "{p}", "--num-sample", "0"], "num-sample: must be a whole number from 1 to"),
        (["--prompts", "{p}", "--sample-name", "a/b"], "sample-name: must be the beginning of a file name"),
        (["--prompts", "{p}", "--save-dir", "none"], "output: the folder none does not exist"),
        (["--prompts", "{p}", "--output", "a.mp4"], "output: is for one result; give --save-dir"),
        (["--prompts", "{p}", "x"], "prompt: cannot be combined with --prompts"),
        (["--prompts", "{p}", "--resume-dir", "kept"], "resume-dir: cannot be combined with --prompts"),
        (["--prompts", "{p}", "--image", "{p}"], "image: prompt 0: cannot read"),
        (["x", "--num-sample", "2"], "num-sample: needs --prompts"),
        (["x", "--prompt-as-path"], "prompt-as-path: needs --prompts"),
        ([], "prompt: is missing; see ea-app generate --help"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_loaded(given, message, command, prompts, loads, tmp_path):
    code, _, err = command("generate", *(text.replace("{p}", str(prompts)) for text in given))
    assert code == 2
    assert err.startswith(f"ea-app: error: {message}")
    assert err.count("\n") == 1
    assert loads == []
    assert _made(tmp_path) == []


def test_a_wrong_line_is_told_by_its_number(command, tmp_path, loads):
    path = tmp_path / "prompts.txt"
    path.write_text(f"a circle\n{'x' * 300}\n")
    code, _, err = command("generate", "--prompts", path)
    assert code == 2
    assert "prompt: prompt 1: is too long: 300 bytes" in err
    path.write_bytes(b"\xff\xfe\xfa")
    assert "prompts: " in command("generate", "--prompts", path)[2]
    path.write_text("\n \n")
    assert "holds no prompts" in command("generate", "--prompts", path)[2]
    path.write_text("a:b\na?b\n")
    assert "gives prompts 0 and 1 one name" in command("generate", "--prompts", path, "--prompt-as-path")[2]
    assert loads == []
