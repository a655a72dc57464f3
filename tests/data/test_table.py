"""`ea-data table`: manifests as tables."""

import json
import sys

import pytest

from ea_data.cli import main
from ea_data.manifest import read_manifest
from ea_data.table import arguments, operations, texts
from ea_data.table.expression import Expression
from ea_data.table.rows import read_rows, write_rows
from ea_data.table.texts import language, token_counter

ROW = {"aes": 5.5, "num_frames": 49, "text": "A Cat sleeps", "flow": None, "empty": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("aes >= 5 and num_frames == 49", True),
        ("4 < aes < 5", False),
        ("'cat' in lower(text)", True),
        ("num_frames % 8 == 1 and -aes < 0", True),
        ("num_frames in (17, 49)", True),
        ("words(text) * 2 // 3 + abs(-1) == 3", True),
        ("round(aes / 2) == 3 or aes - 1 > 9", True),
        ("script(text) == 'latin'", True),
        ("not given(flow) and given(aes)", True),
        # What is not known is neither true nor false.
        ("flow > 1", False),
        ("not flow > 1", False),
        ("flow > 1 or aes > 5", True),
        ("flow > 1 and aes > 5", False),
        ("not (flow > 1 and aes > 6)", True),
        ("nothing < 3 or empty == ''", False),
    ],
)
def test_conditions(text, expected):
    assert Expression(text).is_met(ROW) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("汉字 a", "cjk"), ("ひらがな", "hiragana"), ("кот", "cyrillic"), ("12 !", ""), ("é", "latin")],
)
def test_scripts(text, expected):
    assert Expression("script(text)").value({"text": text}) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aes >", "is no expression"),
        ("__import__('os')", "is not understood"),
        ("text.upper()", "is not understood"),
        ("aes ** 99", "is not understood"),
        ("[x for x in text]", "is not understood"),
        ("lambda: 1", "is not understood"),
        ("len(text, 1)", "is not understood"),
        ("given(1)", "is not understood"),
        ("-" * 60 + "1", "is not understood"),
        ("(" * 3000, "allowed: at most 2000"),
    ],
)
def test_what_is_no_expression(text, message):
    with pytest.raises(ValueError, match=message):
        Expression(text)


@pytest.mark.parametrize("text", ["aes > text", "aes / 0 > 1", "text * 1000000 == 1", "aes", "aes or 1"])
def test_values_that_do_not_go_together(text):
    with pytest.raises(ValueError, match=r"^'"):
        Expression(text).is_met(ROW)


@pytest.fixture
def folder(tmp_path):
    """A manifest in Open-Sora's CSV, whose files are there, and one of scores as JSON lines."""
    for number in range(6):
        (tmp_path / f"{number}.mp4").write_bytes(b"x")
    lines = ["path,text,height,aes"]
    lines += [f"{n}.mp4,{('a cat', 'a dog')[n % 2]},{64 * (1 + n % 3)},{n if n else ''}" for n in range(6)]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    rows = [{"file_path": f"{n}.mp4", "aes": 9, "flow": n / 2} for n in (0, 4, 9)]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def _names(path):
    return [entry.path.name for entry in read_manifest(path, check_files=False).entries]


OPERATIONS = {
    "filter": (["--filter", "aes > 2 and 'dog' in text"], [3, 5]),
    "sort": (["--sort", "aes:descending"], [5, 4, 3, 2, 1, 0]),
    "sort up": (["--sort", "aes:ascending"], [1, 2, 3, 4, 5, 0]),
    "join": (["--join", "scores.jsonl", "--filter", "aes == 9 or flow == 2"], [0, 4]),
    "only": (["--only", "scores.jsonl"], [0, 4]),
    "without": (["--without", "scores.jsonl"], [1, 2, 3, 5]),
    "add": (["--add", "scores.jsonl"], [0, 1, 2, 3, 4, 5, 0, 4, 9]),
    "dedupe": (["--dedupe", "text"], [0, 1]),
    "dedupe after": (["--add", "scores.jsonl", "--dedupe", "file_path"], [0, 1, 2, 3, 4, 5, 9]),
    "set": (["--set", "area=height*height", "--filter", "area > 9000"], [1, 2, 4, 5]),
    "order counts": (["--filter", "aes > 3", "--dedupe", "text"], [4, 5]),
}


@pytest.mark.parametrize("case", OPERATIONS)
def test_operations(case, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words, expected = OPERATIONS[case]
    assert main(["table", "in.csv", "out.jsonl", *words]) == 0
    assert _names(folder / "out.jsonl") == [f"{number}.mp4" for number in expected]
    assert capsys.readouterr().out.splitlines()[0] == "        6  in.csv"


def test_samples_do_not_depend_on_other_rows(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert main(["table", "in.csv", "a.csv", "--sample", "1:height"]) == 0
    assert main(["table", "in.csv", "b.csv", "--filter", "height > 64", "--sample", "1:height"]) == 0
    first, second = _names("a.csv"), _names("b.csv")
    assert len(first) == 3
    assert set(second) < set(first)
    assert main(["table", "in.csv", "c.csv", "--shuffle", "1"]) == 0
    assert sorted(_names("c.csv")) == sorted(_names("in.csv")) != _names("c.csv")


def test_shards_and_parts(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["table", "in.csv", "out.json", "--shard", "4"]) == 0
    assert [len(_names(f"out-{number}.json")) for number in range(4)] == [2, 2, 1, 1]
    assert main(["table", "in.csv", "part.csv", "--split", "text,height"]) == 0
    assert _names("part-a cat-192.csv") == ["2.mp4"]
    assert "        1  part-a dog-64.csv" in capsys.readouterr().out
    assert len(list(folder.glob("part-*.csv"))) == 6


def test_names_of_files_fit_the_folder_of_the_output(folder):
    (folder / "sub").mkdir()
    rows = read_rows(folder / "in.csv")
    write_rows(folder / "sub" / "out.csv", rows)
    assert read_manifest(folder / "sub" / "out.csv").entries[5].path == folder / "5.mp4"
    write_rows(folder / "near.csv", rows)
    assert "\n5.mp4,a dog,192,5\n" in (folder / "near.csv").read_text()
    write_rows(folder / "far.csv", rows, absolute=True)
    assert str(folder / "5.mp4") in (folder / "far.csv").read_text()


def test_numbers_and_texts_of_a_csv_file(tmp_path):
    (tmp_path / "in.csv").write_text("path,text,aes,code\na.mp4,007,nan,1\nb.mp4,8,1e-3,x\n")
    first, second = read_rows(tmp_path / "in.csv")
    assert (first["text"], first["aes"], first["code"]) == ("007", None, "1")
    assert second["aes"] == 0.001


def test_parquet(folder):
    pytest.importorskip("pyarrow")
    rows = read_rows(folder / "in.csv")
    write_rows(folder / "out.parquet", rows)
    assert read_rows(folder / "out.parquet") == rows


def test_captions_are_cleaned(tmp_path):
    (tmp_path / "in.jsonl").write_text(
        json.dumps({"file_path": "a.mp4", "text": "The video shows <b>a cat</b> www.x.org"})
    )
    words = [
        "table",
        str(tmp_path / "in.jsonl"),
        str(tmp_path / "out.jsonl"),
        "--clean",
        "text",
        "--columns",
        "text",
    ]
    assert main(words) == 0
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {"file_path": "a.mp4", "text": "A cat"}


def test_what_a_table_holds(folder, capsys):
    assert main(["table", str(folder / "in.csv"), "--filter", "aes > 1"]) == 0
    told = capsys.readouterr().out
    assert "4 rows" in told
    assert "2 to 5, mean 3.5" in told
    assert "a cat (2), a dog (2)" in told


WRONG = {
    "suffix": (["in.csv", "out.txt"], "unknown suffix '.txt'"),
    "same": (["in.csv", "in.csv"], "are the same file"),
    "no input": (["none.csv", "out.csv"], "none.csv"),
    "column": (
        ["in.csv", "out.csv", "--filter", "motion > 1"],
        "no column 'motion'; there are file_path, text",
    ),
    "sort": (["in.csv", "out.csv", "--sort", "aes:up"], "is no order"),
    "set": (["in.csv", "out.csv", "--set", "1+1"], "sets nothing"),
    "set file": (["in.csv", "out.csv", "--set", "file_path=1"], "sets nothing"),
    "sample": (["in.csv", "out.csv", "--sample", "0"], "is no sample"),
    "seed": (["in.csv", "out.csv", "--shuffle", "x"], "is no seed"),
    "shard": (["in.csv", "out.csv", "--shard", "7"], "shard is 7; allowed: 1 to the number of rows, 6"),
    "no output": (["in.csv", "--shard", "2"], "OUTPUT is missing"),
    "folder": (["in.csv", "no/out.csv"], "does not exist"),
    "row": (["bad.jsonl", "out.csv"], "bad.jsonl:2: file_path is missing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes(case, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "bad.jsonl").write_text('{"file_path": "a.mp4"}\n{"text": "x"}\n')
    words, message = WRONG[case]
    assert main(["table", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (folder / "out.csv").exists()


def test_every_operation_is_told_and_done():
    assert set(arguments.OPERATIONS) == set(operations.OPERATIONS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A cat sleeps on a red sofa.", "en"),
        ("一只猫在红色沙发上睡觉", "zh"),
        ("Un chat dort sur le canapé rouge", "fr"),
        ("El perro corre por la playa", "es"),
        ("女孩在海边跳舞，阳光明媚", "zh"),
        ("A video in green. The camera pans right.", "en"),
        ("a cat", None),
        ("", None),
        ("123 !", None),
        ("ok", None),
    ],
)
def test_languages(text, expected):
    pytest.importorskip("py3langid")
    assert language(text) == Expression("language(text)").value({"text": text}) == expected


def test_rows_of_an_unknown_language_pass_no_filter(folder, monkeypatch):
    pytest.importorskip("py3langid")
    monkeypatch.chdir(folder)
    texts = ("A cat sleeps on a red sofa.", "一只猫在红色沙发上睡觉", "", "42")
    rows = [{"file_path": f"{n}.mp4", "text": text} for n, text in enumerate(texts)]
    write_rows(folder / "l.jsonl", rows)
    assert main(["table", "l.jsonl", "en.jsonl", "--filter", "language(text) == 'en'"]) == 0
    assert main(["table", "l.jsonl", "other.jsonl", "--filter", "language(text) != 'en'"]) == 0
    assert (_names("en.jsonl"), _names("other.jsonl")) == (["0.mp4"], ["1.mp4"])


@pytest.fixture
def tokenizer(tmp_path):
    """A file as text encoders have it: words, an end, and texts cut at three."""
    tokenizers = pytest.importorskip("tokenizers")
    words = {word: number for number, word in enumerate(("<unk>", "</s>", "a", "cat", "dog"))}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    made.enable_truncation(3)
    made.enable_padding(length=3)
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


@pytest.mark.parametrize("name", ["", "tokenizer.json"])
def test_tokens_are_counted_with_the_end_and_nothing_cut(tokenizer, name):
    count = token_counter(tokenizer / name)
    assert [count(text) for text in ("a cat", "", "a dog a dog a unicorn")] == [3, 1, 7]


def test_tokens_in_a_table(folder, tokenizer, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = ["--tokenizer", str(tokenizer), "--set", "tokens=tokens(text)", "--filter", "tokens(text) < 4"]
    assert main(["table", "in.csv", "out.csv", *words]) == 0
    assert {row["tokens"] for row in read_rows(folder / "out.csv")} == {3}
    for words, message in {
        (): "tokens needs a tokenizer; give --tokenizer FILE",
        ("--tokenizer", "in.csv"): "tokenizer: cannot read in.csv",
        ("--tokenizer", "nowhere"): "tokenizer: cannot read nowhere",
    }.items():
        capsys.readouterr()
        assert main(["table", "in.csv", "no.csv", "--filter", "tokens(text) < 4", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(("function", "module"), [("language", "py3langid"), ("tokens", "tokenizers")])
def test_a_library_that_is_missing_is_one_line(folder, monkeypatch, capsys, function, module):
    monkeypatch.chdir(folder)
    for name in (module, f"{module}.langid"):
        monkeypatch.setitem(sys.modules, name, None)
    texts._identifier.cache_clear()
    words = ["--filter", f"{function}(text) == 1", "--tokenizer", "x"][: 4 if module == "tokenizers" else 2]
    assert main(["table", "in.csv", "out.csv", *words]) == 2
    assert "install it with: pip install 'ea-data[text]'" in capsys.readouterr().err
