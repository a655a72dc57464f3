"""Lists of prompts become rows without files: stages of text do their work, all others are refused."""

import json

import pytest
from curation_corpus import FPS, pan
from curation_workers import rows_of

from ea_data.cli import main
from ea_data.curation.curate import Engines, curate
from ea_data.curation.listing import ListOptions, list_rows
from ea_data.curation.plan import load_plan, plan_of
from ea_data.curation.single import plan_of_stage
from ea_data.media import MediaError, write_video

INLINE = Engines(name="inline")


def _run(plan, source, output):
    return curate(plan, source, output, engines=INLINE, samples=2)


def test_a_text_file_becomes_prompts_that_a_generator_reads(tmp_path):
    source = tmp_path / "prompts.txt"
    source.write_bytes(
        "\ufeffA cat  sleeps.\n\n一只猫。\r\nA cat sleeps.\nThe video shows a <b>dog</b>.".encode()
    )
    report = _run(load_plan("prompts"), source, tmp_path / "out")
    assert (tmp_path / "out" / "prompts.txt").read_text("utf-8") == "A cat sleeps.\n一只猫。\nA dog.\n"
    assert rows_of(tmp_path / "out" / "prompts.jsonl")[1:] == [
        {"text": "一只猫。", "source": "prompts.txt:3"},
        {"text": "A dog.", "source": "prompts.txt:5"},
    ]
    (copy,) = rows_of(tmp_path / "out" / "excluded.jsonl")
    assert (copy["file"], copy["dropped"]) == ("prompts.txt:4", "has the same words as prompts.txt:1")
    assert report.reasons() == {"duplicates": {"has the same words as an earlier row": 1}}
    assert not (tmp_path / "out" / "metadata.jsonl").exists()
    page = (tmp_path / "out" / "report" / "index.html").read_text("utf-8")
    assert "3 rows kept, 1 left out" in page
    assert not any(words in page for words in ("Left out by duplicates", "Distributions", "<img"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", 'id,prompt\n1,"A cat, asleep"\n2,A boat\n'),
        ("p.csv", 'caption\n"A cat, asleep"\nA boat\n'),
        ("p.jsonl", '{"prompt": "A cat, asleep"}\n{"text": "A boat", "score": 1}\n'),
    ],
)
def test_tables_without_files_are_lists_of_prompts(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    rows = list_rows(tmp_path / name, ListOptions())
    assert [row.columns["text"] for row in rows] == ["A cat, asleep", "A boat"]
    assert {row.kind for row in rows} == {"text"}
    assert len({row.columns["stem"] for row in rows}) == len({row.digest for row in rows}) == 2


def test_the_list_that_a_run_wrote_can_be_read_again(tmp_path):
    (tmp_path / "p.txt").write_text("A cat.\nA boat.\n")
    _run(load_plan("prompts"), tmp_path / "p.txt", tmp_path / "one")
    _run(load_plan("prompts"), tmp_path / "one" / "prompts.jsonl", tmp_path / "two")
    assert (tmp_path / "two" / "prompts.txt").read_bytes() == (tmp_path / "one" / "prompts.txt").read_bytes()


def test_wrong_prompts_are_listed_and_never_pass(tmp_path):
    (tmp_path / "p.jsonl").write_bytes(
        b'{"prompt": "good"}\n{"prompt": ""}\n{"prompt": 3}\n[1]\n{"prompt": "a", "text": "b"}\n'
        b'{"prompt": "a", "path": "a.mp4"}\nno json\n\xff\n' + json.dumps({"prompt": "x" * 20_001}).encode()
    )
    report = _run(load_plan("prompts"), tmp_path / "p.jsonl", tmp_path / "out")
    assert (report.kept, report.counts[0].failed) == (1, 8)
    reasons = [row["failed"] for row in rows_of(tmp_path / "out" / "excluded.jsonl")]
    assert reasons[0] == "expected one text in one of the columns prompt, text, caption"
    assert reasons[4] == "it names a file, in a list of prompts"
    assert reasons[7] == "the prompt has 20001 characters; allowed: 1 to 20000"


def test_a_stage_that_needs_files_refuses_prompts_before_any_work(tmp_path, capsys):
    (tmp_path / "p.txt").write_text("A cat.\n")
    assert main(["run", "offline", str(tmp_path / "p.txt"), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert "p.txt is a list of prompts, and the stage probe of plan offline needs files" in error
    assert error.endswith("allowed: duplicates, captions, rewrite, clean")
    assert "\n" not in error
    assert not (tmp_path / "out").exists()


def test_one_stage_by_itself(tmp_path):
    assert [step.stage for step in plan_of_stage("duplicates", ["near=false"]).steps] == ["duplicates"]
    assert [step.stage for step in plan_of_stage("rewrite").steps] == ["captions", "rewrite"]
    (tmp_path / "p.txt").write_text("A cat.\nA cat.\n")
    assert _run(plan_of_stage("duplicates", ["near=false"]), tmp_path / "p.txt", tmp_path / "out").kept == 1


def test_prompts_in_the_folder_of_an_earlier_run_replace_its_clips_and_manifest(tmp_path):
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "a.mp4", pan(1, 9, height=64, width=64), fps=FPS)
    (tmp_path / "p.txt").write_text("A cat.\n")
    plan = plan_of("mine", {"stages": ["captions", "clean"]})
    _run(plan, tmp_path / "in", tmp_path / "out")
    _run(plan, tmp_path / "p.txt", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name != "clips") == [
        "excluded.jsonl", "prompts.jsonl", "prompts.txt", "report", "work",
    ]  # fmt: skip
    assert list((tmp_path / "out" / "clips").rglob("*.mp4")) == []
    _run(plan, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out" / "prompts.txt").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", b"\n \n", "has nothing to begin with"),
        ("p.csv", b'prompt\n"open', "line 1: unexpected end of data"),
        ("p.csv", b"\xff\xfe", "cannot read"),
        ("p.md", b"A cat", r"nor a list of prompts; allowed: \.json, \.jsonl, \.csv, \.parquet, \.txt"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=message):
        list_rows(tmp_path / name, ListOptions())


def test_a_manifest_with_a_column_of_files_stays_one(tmp_path):
    (tmp_path / "m.csv").write_text("path,text\n,A cat\n")
    (row,) = list_rows(tmp_path / "m.csv", ListOptions())
    assert row.fate is not None
    assert row.fate.failed
