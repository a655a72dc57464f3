"""`ea-data lint`: counts that add up, exit codes, the JSON report, the page, and mistakes of its user."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from lint_corpus import (
    OPTIONS,
    PICTURES,
    RECIPE,
    VIDEOS,
    checked,
    clean_rows,
    held_rows,
    picture,
    video,
    write_rows,
)
from PIL import Image

from ea_data.cli import main
from ea_data.lint.captions import caption_findings
from ea_data.lint.charts import bars_of_names, bars_of_values, draw_bars
from ea_data.lint.findings import RULES
from ea_data.lint.options import LintOptions
from ea_data.lint.report import SCHEMA
from ea_data.lint.samples import SheetSample
from ea_data.lint.sheets import draw_sheet
from ea_data.training.recipe import CaptionOptions, ClipOptions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Clean data, a recipe file, and a manifest with two faults; not to be changed."""
    folder = tmp_path_factory.mktemp("data")
    rows = clean_rows(folder)
    write_rows(folder / "train.jsonl", rows)
    write_rows(folder / "held.jsonl", held_rows(folder))
    gone = {"file_path": "gone.mp4", "text": "Squares that are gone", "type": "video"}
    write_rows(folder / "bad.jsonl", [*rows, {**rows[0], "file_path": "clip1.mp4", "text": ""}, gone])
    (folder / "recipe.json").write_text(json.dumps(RECIPE.to_dict()))
    return folder


def run(capsys, folder, *words):
    """Exit code and what was printed."""
    code = main(["lint", *map(str, words), "--recipe", str(folder / "recipe.json"), "--workers", "1"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_exit_codes(capsys, folder):
    code, out, _ = run(
        capsys, folder, folder / "train.jsonl", "--validation", folder / "held.jsonl", "--strict"
    )
    assert (code, out.splitlines()[-1]) == (0, "0 errors, 0 warnings")
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    warned = write_rows(folder / "warned.jsonl", [{**rows[0], "text": ""}, *rows[1:]])
    report = checked(warned)
    assert (report.exit_code(strict=False), report.exit_code(strict=True)) == (0, 1)
    code, out, _ = run(capsys, folder, folder / "bad.jsonl")
    assert code == 1
    assert f"{folder / 'bad.jsonl'}: 12 rows = 11 kept + 1 dropped (missing 1)" in out
    assert "warning: duplicate (1): the file has the same content" in out
    assert out.splitlines()[-1] == "1 error, 2 warnings"


def test_the_json_report(capsys, folder, tmp_path):
    path = tmp_path / "report.json"
    code, out, _ = run(capsys, folder, folder / "bad.jsonl", "--json", path, "--epochs", 2)
    report = json.loads(path.read_text())
    assert code == 1
    assert out.count("epoch ") == 2
    assert list(report) == [
        "schema", "manifest", "validation", "recipe", "options", "rows", "validation_rows", "epochs",
        "counts", "dropped", "findings",
    ]  # fmt: skip
    assert report["schema"] == SCHEMA == "ea-data lint 1"
    assert report["rows"] == {"rows": 12, "kept": 11, "dropped": {"missing": 1}}
    assert report["recipe"] == json.loads(json.dumps(RECIPE.to_dict()))
    assert report["counts"]["rules"] == {"missing": 1, "duplicate": 1, "caption-empty": 1}
    gone = str(folder / "gone.mp4")
    assert report["dropped"] == [{"row": 11, "line": 12, "file": gone, "rule": "missing"}]
    assert report["findings"][-1] == {
        "severity": "error",
        "drops": True,
        "rule": "missing",
        "message": "no such file",
        "manifest": str(folder / "bad.jsonl"),
        "row": 11,
        "line": 12,
        "file": gone,
        "related": [],
    }
    assert [epoch["samples"] for epoch in report["epochs"]] == [11, 11]
    assert set(report["epochs"][0]["buckets"][0]) == {
        "bucket", "samples", "batch_size", "batches", "full", "left_out", "repeated",
    }  # fmt: skip
    code, out, _ = run(capsys, folder, folder / "bad.jsonl", "--json", "-", "--epochs", 2)
    assert json.loads(out) == report


def test_rows_that_begin_in_one_line_are_told_apart(tmp_path):
    rows = [{"file_path": f"{n}.mp4", "text": f"Squares number {n}", "type": "video"} for n in range(2)]
    rows.append(video(tmp_path, 0))
    (tmp_path / "train.json").write_text(json.dumps(rows))
    report = checked(tmp_path / "train.json")
    assert [(row.number, row.line) for row in report.rows] == [(0, 1), (1, 1), (2, 1)]
    assert report.reasons == ("missing", "missing", "")


@pytest.mark.parametrize(
    ("remainder", "batches", "left_out", "repeated"),
    [("keep", 1 + 2, 0, 0), ("drop", 0 + 1, 3 + 3, 0), ("repeat", 1 + 2, 0, 1 + 1)],
)
def test_counts_of_an_epoch_add_up(folder, remainder, batches, left_out, repeated):
    """Three pictures and seven videos in batches of four."""
    rows = [*clean_rows(folder)[: VIDEOS + 3], video(folder, 70)]
    manifest = write_rows(folder / "counts.jsonl", rows)
    report = checked(manifest, replace(RECIPE, batch_size=4, remainder=remainder))
    (epoch,) = report.epochs
    assert [(bucket.bucket, bucket.samples, bucket.full) for bucket in epoch.buckets] == [
        ("image 0.88 64x48", 3, 0),
        ("video 0.57 80x48", 7, 1),
    ]
    assert (epoch.batches, epoch.left_out, epoch.repeated) == (batches, left_out, repeated)
    assert [finding.rule for finding in report.findings] == [
        "bucket-lost" if remainder == "drop" else "bucket-small"
    ]
    assert "image 0.88 64x48: 3 samples never fill a batch of 4" in report.findings[0].message


def test_repeated_videos_count_as_often(folder):
    (epoch,) = checked(folder / "train.jsonl", replace(RECIPE, video_repeat=5)).epochs
    assert epoch.samples == 5 * VIDEOS + PICTURES == sum(bucket.samples for bucket in epoch.buckets)


def test_open_sora_buckets(tmp_path):
    """Resolutions that a draw keeps: in every epoch what is drawn and what is not is all that is kept."""
    rows = [video(tmp_path, seed, height=144, width=256, frames=20) for seed in range(8)]
    rows += [picture(tmp_path, 100, height=144, width=256), video(tmp_path, 20)]
    recipe = replace(
        RECIPE,
        shapes=None,
        batch_size=1,
        buckets={"144p": {1: (1.0, 4), 8: (0.5, 2)}},
        clip=ClipOptions(),
    )
    report = checked(write_rows(tmp_path / "train.jsonl", rows), recipe, options=replace(OPTIONS, epochs=5))
    assert report.reasons == ("",) * 9 + ("no-bucket",)
    assert report.findings[0].message.startswith(
        "no bucket takes 128x72 with 13 frames; expected: about 144p"
    )
    drawn = [epoch.samples - epoch.not_drawn for epoch in report.epochs]
    assert {epoch.samples for epoch in report.epochs} == {9}
    assert all(
        sum(b.samples for b in epoch.buckets) == n for epoch, n in zip(report.epochs, drawn, strict=True)
    )
    assert len(set(drawn)) > 1
    assert [f.rule for f in report.findings] == ["no-bucket", "bucket-small"]
    assert "144p 1 frame" in report.findings[1].message


def test_the_page(capsys, folder, tmp_path):
    rows = [json.loads(line) for line in (folder / "bad.jsonl").read_text().splitlines()]
    rows[1]["text"] = "<b>Squares</b> & a 猫"
    write_rows(folder / "page.jsonl", rows)
    target = tmp_path / "report"
    for _ in range(2):  # the second one takes the place of the first
        code, out, _ = run(capsys, folder, folder / "page.jsonl", "--report", target, "--samples", 30)
        assert (code, out.splitlines()[-1]) == (1, f"report: {target / 'index.html'}")
    names = {path.name for path in target.iterdir()}
    charts = {"seconds", "frames", "fps", "resolution", "aspect", "captions", "buckets"}
    assert names == {"index.html", "report.json", "sheet-1.jpg"} | {f"{chart}.svg" for chart in charts}
    assert list(tmp_path.iterdir()) == [target]
    page = (target / "index.html").read_text(encoding="utf-8")
    assert page.count("<svg") == len(charts)
    assert "&lt;b&gt;Squares&lt;/b&gt; &amp; a 猫" in page
    assert "<b>" not in page
    assert "12 rows = 11 kept + 1 dropped (missing 1)" in page
    assert page.count("<td>video 0.57 80x48<td>") == 7
    sheet = np.asarray(Image.open(target / "sheet-1.jpg"), np.float32)
    assert sheet.std() > 20


def test_a_folder_with_something_else_is_left_alone(capsys, folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    code, out, error = run(capsys, folder, folder / "train.jsonl", "--report", tmp_path)
    assert (code, out) == (2, "")
    assert "holds something else than a report" in error
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_report_that_was_added_to_is_left_alone(capsys, folder, tmp_path):
    target = tmp_path / "report"
    assert run(capsys, folder, folder / "bad.jsonl", "--report", target, "--samples", 0)[0] == 1
    (target / "notes.txt").write_text("mine")
    code, _, error = run(capsys, folder, folder / "bad.jsonl", "--report", target)
    assert (code, (target / "notes.txt").read_text()) == (2, "mine")
    assert "holds something else than a report" in error
    (target / "notes.txt").unlink()
    code, _, error = run(
        capsys, folder, folder / "bad.jsonl", "--report", target, "--json", target / "a.json"
    )
    assert code == 2
    assert "in the folder of --report, which is made anew" in error


@pytest.mark.parametrize(
    ("name", "noun"),
    [
        ("train.jsonl", "a manifest that is read"),
        ("held.jsonl", "a manifest that is read"),
        ("recipe.json", "the recipe"),
        ("clip1.mp4", "a file of a manifest"),
        ("held0.mp4", "a file of a manifest"),
        ("link", "a file of a manifest"),
    ],
)
def test_what_is_read_is_not_written_to(capsys, folder, tmp_path, name, noun):
    files = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    name = {"held0.mp4": held_name(folder)}.get(name, name)
    path = folder / name
    if name == "link":
        path = tmp_path / name
        path.symlink_to(folder / "clip1.mp4")
    words = (folder / "train.jsonl", "--validation", folder / "held.jsonl", "--json", path)
    code, out, error = run(capsys, folder, *words)
    assert (code, out) == (2, "")
    assert error == f"ea-data lint: error: --json is {path}, which is {noun}; allowed: another name\n"
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == files


def held_name(folder):
    """A file of the validation."""
    return json.loads((folder / "held.jsonl").read_text().splitlines()[0])["file_path"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{folder}/none.jsonl"], "No such file"),
        (["{folder}/train.txt"], "unknown suffix"),
        (["{folder}/train.jsonl", "--validation", "{folder}/none.jsonl"], "No such file"),
        (["{folder}/train.jsonl", "--validation", "{folder}/train.jsonl"], "which is the training manifest"),
        (["{folder}/train.jsonl", "--root", "{folder}/none"], "does not exist"),
        (["{folder}/train.jsonl", "--workers", "0"], "workers is 0; allowed: 1 to 256"),
        (["{folder}/train.jsonl", "--epochs", "0"], "epochs is 0; allowed: 1 to 1000"),
        (["{folder}/train.jsonl", "--timeout", "nan"], "timeout is nan; allowed: 0.1 to 86400"),
        (["{folder}/train.jsonl", "--repeated", "1"], "repeated is 1; allowed: 2 to"),
        (["{folder}/train.jsonl", "--aspect", "0.5"], "aspect is 0.5; allowed: 1 to 1000"),
        (["{folder}/train.jsonl", "--samples", "-1"], "--samples is -1; allowed: 0 to 2000"),
        (["{folder}/train.jsonl", "--recipe", "{folder}/none.yaml"], "cannot read"),
        (["{folder}/train.jsonl", "--recipe", "{folder}/train.jsonl"], "unknown suffix"),
        (["{folder}/train.jsonl", "--report", "{folder}/none/report"], "does not exist"),
        (["{folder}/train.jsonl", "--report", "{folder}/train.jsonl"], "something else than a report"),
        (["{folder}/train.jsonl", "--json", "{folder}/none/report.json"], "its folder does not exist"),
    ],
)
def test_mistakes_are_one_line(capsys, folder, words, message):
    words = [word.format(folder=folder) for word in words]
    recipe = [] if "--recipe" in words else ["--recipe", str(folder / "recipe.json")]
    assert main(["lint", *words, *recipe]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ea-data lint: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_the_recipe_has_to_be_said(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["lint", "train.jsonl"])
    assert ended.value.code == 2
    assert "--recipe" in capsys.readouterr().err


def test_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["lint", "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert {f"--{name}" for name in ("validation", "deep", "strict", "json", "report", "epochs")} <= set(
        re.findall(r"--[a-z]+", out)
    )


def test_options_are_those_of_the_command_line():
    with pytest.raises(ValueError, match=r"timeout is 0; allowed: 0\.1 to 86400"):
        LintOptions(timeout=0)


def test_an_empty_manifest_has_nothing_to_train_on(tmp_path):
    (tmp_path / "train.jsonl").write_text("")
    report = checked(tmp_path / "train.jsonl")
    assert [finding.rule for finding in report.findings] == ["row", "no-batch"]
    assert report.count.kept == 0


@pytest.mark.parametrize(
    "text",
    [
        "一个红色的圆环在纯棕色背景上静止不动。", "Привет, красный круг", "กระต่ายวิ่งเร็ว", "एक लाल वृत्त चलता है",
        "A café – “red” circle… 90° × 2", "\U0001fae8 shaking face \U0001f9d1\u200d\U0001f680 in space",
        "Ein Bär läuft über die Straße",
        "v5.1 of a scene, i.e. at 12:30", "Two lines\nof one\tcaption",
    ],
)  # fmt: skip
def test_captions_of_any_language_are_fine(text):
    assert list(caption_findings(text, CaptionOptions(forbidden=("sho", "red circles")))) == []


def test_charts():
    bars = bars_of_values("Length", "s", [1.0, 2.0, 2.0], [4.0])
    assert (bars.labels, bars.kept, bars.dropped) == (("1", "2", "4"), (1, 2, 0), (0, 0, 1))
    many = bars_of_values("Length", "s", [number / 7 for number in range(200)], [30.0])
    assert (sum(many.kept), sum(many.dropped)) == (200, 1)
    assert len(many.labels) == len(many.kept) + 1 <= 26
    assert float(many.labels[0]) <= 0
    assert float(many.labels[-1]) >= 30
    names = bars_of_names("Buckets", [f"b{n}" for n in range(40) for _ in range(n + 1)], [])
    assert (len(names.labels), names.labels[-1], sum(names.kept)) == (24, "others", 40 * 41 // 2)
    drawn = draw_bars(bars_of_names("<Title>", ["a<b"], []))
    assert "&lt;Title&gt;" in drawn
    assert "<b" not in drawn.replace("</", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "word",
        "w" * 500,
        "many words " * 60,
        "猫が走る",
        "It’s a café – “good”",
        "a\x00b",
        "日本 and Latin",
    ],
)
def test_a_sheet_takes_any_caption_and_shape(text):
    sample = SheetSample(
        number=1, line=1, file="a.mp4", text=text, bucket="video 4.0 16x64", frames=9,
        picture=np.full((64, 16, 3), 90, np.uint8), control=np.full((64, 16, 3), 200, np.uint8),
    )  # fmt: skip
    sheet = draw_sheet([sample] * 5)
    assert sheet.width > 4 * 200
    assert {90, 200} <= set(np.unique(np.asarray(sheet)).tolist())


def test_each_rule_says_what_it_means():
    assert all(re.fullmatch(r"[a-z-]+", rule) for rule in RULES)
    assert all(not rule.drops or rule.severity == "error" for rule in RULES.values())
    assert len({rule.text for rule in RULES.values()}) == len(RULES)
