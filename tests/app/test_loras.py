"""How LoRAs are named on the command line, recorded, and found again. No model is loaded here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ea_app import catalog
from ea_app.api.loras import (
    HEAVIEST,
    are_lora_entries,
    find_loras,
    lora_entries,
    parse_lora,
    recorded_loras,
)
from ea_app.api.record import embedded
from ea_app.options import InputError, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.safetensors", ("a.safetensors", 1)),
        ("a.safetensors:0.8", ("a.safetensors", 0.8)),
        ("a.safetensors:-1.5", ("a.safetensors", -1.5)),
        ("a.safetensors:+.5", ("a.safetensors", 0.5)),
        ("a.safetensors:2", ("a.safetensors", 2)),
        ("a.safetensors:1e-2", ("a.safetensors", 0.01)),
        ("a.safetensors:0", ("a.safetensors", 0)),
        (r"C:\loras\a.safetensors", (r"C:\loras\a.safetensors", 1)),
        (r"C:\loras\a.safetensors:0.5", (r"C:\loras\a.safetensors", 0.5)),
        ("epoch:10:0.5", ("epoch:10", 0.5)),
        ("style:v2.safetensors", ("style:v2.safetensors", 1)),
        ("a.safetensors:0,8", ("a.safetensors:0,8", 1)),
    ],
)
def test_a_weight_follows_the_last_colon(text, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_lora(text) == (Path(expected[0]), expected[1])


def test_a_file_of_that_very_name_counts_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:0.5").write_text("")
    assert parse_lora("a:0.5") == (Path("a:0.5"), 1)
    assert parse_lora("a:0.5:0.25") == (Path("a:0.5"), 0.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.safetensors:", "must be FILE or FILE:WEIGHT, got 'a.safetensors:', which ends with a colon"),
        (":0.5", "must be FILE or FILE:WEIGHT, got ':0.5', which names no file"),
        ("a:nan", "the weight must be a number from -100 to 100, got nan in 'a:nan'"),
        ("a:-inf", "the weight must be a number from -100 to 100"),
        ("a:101", "the weight must be a number from -100 to 100, got 101.0"),
        ("a:1e999", "the weight must be a number from -100 to 100"),
    ],
)
def test_what_is_no_lora(text, message):
    with pytest.raises(InputError, match=f"^lora: {message}"):
        parse_lora(text)


def test_the_same_limit_as_in_the_library():
    from ea_dit.lora.overlay import STRONGEST

    assert HEAVIEST == STRONGEST


def test_ways_to_name_one_from_python(tmp_path):
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"x")
    named = find_loras([f"{file}:0.5", file, (file, -2), str(file)])
    assert [lora.weight for lora in named] == [0.5, 1.0, -2.0, 1.0]
    assert {lora.source.path for lora in named} == {file}
    assert len({lora.source.xxh3 for lora in named}) == 1
    assert find_loras(named) == named
    assert find_loras(file) == find_loras(str(file)) == named[1:2]
    assert not find_loras([file], unmatched="skip")[0].strict
    for wrong in ((file, True), (file, "1"), (file, float("nan"))):
        with pytest.raises(InputError, match=r"^lora: the weight must be a number"):
            find_loras([wrong])
    for missing in ("none.safetensors", "none.safetensors:1", "x" * 5000, "a\0b"):
        with pytest.raises(InputError, match=r"^lora: .*(does not exist|cannot be read)"):
            find_loras([missing])


def test_settings_beside_a_file_of_peft_count(tmp_path):
    file, settings = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
    file.write_bytes(b"x")
    settings.write_text("{}")
    (before,) = find_loras([file])
    settings.write_text('{"lora_alpha": 1}')
    (after,) = find_loras([file])
    assert before.source.xxh3 != after.source.xxh3
    (folder,) = find_loras([tmp_path])
    assert folder.source.path == tmp_path


def test_records_know_them(tmp_path):
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"x")
    loras = (*find_loras([f"{file}:0.5"]), *find_loras([file], unmatched="skip"))
    entries = lora_entries(loras)
    assert are_lora_entries(entries)
    assert [entry["weight"] for entry in entries] == [0.5, 1.0]
    assert recorded_loras({"loras": entries}, tmp_path) == loras
    moved = [{**entry, "path": "a.safetensors"} for entry in entries]
    assert recorded_loras({"loras": moved}, tmp_path) == loras
    assert recorded_loras({}, tmp_path) == ()
    file.write_bytes(b"y")
    with pytest.raises(InputError, match=r"^lora: .*a\.safetensors has changed since"):
        recorded_loras({"loras": entries}, tmp_path)
    file.unlink()
    with pytest.raises(InputError, match=r"^lora: .*a\.safetensors does not exist"):
        recorded_loras({"loras": entries}, tmp_path)


def test_one_in_the_box_is_named_and_recorded_by_its_name(tmp_path, monkeypatch):
    assets = tmp_path / "assets"
    (assets / "loras").mkdir(parents=True)
    file = assets / "loras" / "pastel.safetensors"
    file.write_bytes(b"x")
    monkeypatch.setattr(catalog, "_bundled_root", lambda: assets)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (lora,) = find_loras(["pastel:0.5"])
    assert (lora.source.path, lora.weight) == (file, 0.5)
    (entry,) = lora_entries([lora])
    assert entry["path"] == "pastel"
    (inside,) = json.loads(embedded({"inputs": {}, "loras": [entry]}, work / "deep" / "out.mp4"))["loras"]
    assert inside == entry
    assert recorded_loras({"loras": [entry]}, work / "deep") == (lora,)
    with pytest.raises(InputError, match=r"^lora: pastle does not exist, and none in the box .* \(pastel\)$"):
        find_loras(["pastle:0.5"])
    (work / "pastel").write_bytes(b"y")  # a file of that name comes first
    assert find_loras(["pastel"])[0].source.path == work / "pastel"


GOOD = {"path": "a", "xxh3": "0", "weight": 1.0}


@pytest.mark.parametrize(
    "entries",
    [
        {},
        "a",
        [1],
        [{}],
        [{**GOOD, "weight": "1"}],
        [{**GOOD, "weight": True}],
        [{**GOOD, "weight": float("nan")}],
        [{**GOOD, "weight": 1000}],
        [{**GOOD, "path": 1}],
        [{**GOOD, "xxh3": None}],
        [{**GOOD, "more": 1}],
        [{**GOOD, "unmatched": "refuse"}],
    ],
)
def test_broken_records(entries):
    assert are_lora_entries([GOOD, {**GOOD, "unmatched": "skip"}])
    assert not are_lora_entries(entries)


def test_the_option_is_a_list():
    assert parse({"lora": "a:1"})["lora"] == ["a:1"]
    assert parse({"lora": ["a", "b:2"]})["lora"] == ["a", "b:2"]
    with pytest.raises(InputError, match=r"^lora: must be a file name"):
        parse({"lora": ["a", ""]})
    with pytest.raises(InputError, match=r"^lora-unmatched: must be one of refuse, skip"):
        parse({"lora_unmatched": "no"})
