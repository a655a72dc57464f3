"""`ea-data cache`: plan, verify, explain, gc and ls, as tables and as JSON, with their exit codes."""

from __future__ import annotations

import json

import pytest
from store_samples import fields, fill, recipe

from ea_data.cli import main
from ea_data.store import CacheStore, CacheWriter, digest_text


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    fill(folder, range(6), shard=3)
    return folder


def run(capsys, *words):
    """Exit code and what was printed."""
    code = main(["cache", *map(str, words)])
    return code, capsys.readouterr().out


def run_json(capsys, *words):
    code, out = run(capsys, *words, "--json")
    return code, json.loads(out)


def wanted_file(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def row(number, **changes):
    return {**recipe(number, **changes).as_json(), "source": f"clips/{number}.mp4"}


def damage(folder):
    """Flip the last bit of the first data file: its text of the sample with the largest key."""
    path = min(folder.glob("shards/*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return path.stem


def test_ls(capsys, store):
    code, found = run_json(capsys, "ls", store)
    assert (code, found["samples"], len(found["shards"]), found["problems"]) == (0, 6, 2, [])
    assert found["shards"][0]["fields"] == ["latents bfloat16 4x2x3x3, text float16 5x8"]
    assert found["bytes"] == sum(path.stat().st_size for path in store.glob("shards/*"))
    with CacheWriter(store) as writer:
        writer.put(recipe(7), fields(7))
        writer.flush()
        code, out = run(capsys, "ls", store)
    assert (code, out.count("done"), out.count("at work")) == (0, 2, 1)
    assert "7 samples in 3 shards" in out
    min(store.glob("shards/*.manifest")).write_bytes(b"")
    code, out = run(capsys, "ls", store)
    assert code == 1
    assert "cannot be used: the file is shorter than a header" in out


def test_plan(capsys, store, tmp_path):
    rows = [row(0), row(1), row(1), row(2, encoders={"vae": "e" * 16}), row(3, code="2"), row(77)]
    wanted = wanted_file(tmp_path / "wanted.jsonl", rows)
    code, found = run_json(capsys, "plan", store, wanted)
    assert code == 1
    assert {name: found[name] for name in ("present", "missing", "stale", "repeated")} == {
        "present": 2, "missing": 1, "stale": 2, "repeated": 1,
    }  # fmt: skip
    assert found["stale_because_of"] == {"encoders.vae": 1, "code": 1}
    assert found["bytes_needed"] == 3 * sum(field.values.nbytes for field in fields(0).values())
    assert "samples" not in found
    code, out = run(capsys, "plan", store, wanted, "--list", "--sample-bytes", 1024)
    assert code == 1
    assert "3 to make, about 3.0 KiB" in out
    assert f"{recipe(77).key}  missing  clips/77.mp4" in out
    code, found = run_json(capsys, "plan", store, wanted_file(wanted, [row(4)]))
    assert (code, found["present"], found["bytes_needed"]) == (0, 1, 0)


def test_inputs_of_a_plan_are_hashed_from_files_and_texts(capsys, tmp_path):
    name = "猫" * 84 + ".mp"  # 255 bytes
    (tmp_path / name).write_text("clip 0", encoding="utf-8")
    plain = {"transform": {"size": [24, 24], "frames": 5}, "encoders": {"vae": "f" * 16}, "code": "1"}
    inputs = [{"video": {"file": name}}, {"video": {"text": "clip 0"}}, {"video": digest_text("clip 0")}]
    rows = [{"inputs": each, "source": name, **plain} for each in inputs]
    fill(tmp_path / "store", [0])
    code, found = run_json(capsys, "plan", tmp_path / "store", wanted_file(tmp_path / "w.jsonl", rows))
    assert (code, found["present"], found["repeated"]) == (0, 1, 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[]", "a row must be an object, got list"),
        ("{", "w.jsonl:2: Expecting"),
        ('{"inputs": {}}', "inputs is empty"),
        ('{"inputs": {"video": {"file": "none.mp4"}}}', "cannot read"),
        ('{"inputs": {"video": {"path": "a"}}}', "an input must be a digest"),
        ('{"inputs": {"video": {"file": 3}}}', "an input must be a digest"),
        ('{"inputs": {"video": 3}}', "an input must be a digest"),
        ('{"inputs": ["video"]}', "inputs must be an object"),
        ('{"inputs": {"video": "a"}, "crop": 1}', "unknown 'crop'; allowed: source"),
        ('{"inputs": {"video": "a"}, "source": 1}', "source must be text"),
        ('{"inputs": {"video": "a"}, "transform": {"x": NaN}}', "transform.x is nan"),
        ("[" * 100_000, "w.jsonl:2: "),
    ],
)
def test_wrong_rows_are_named_by_file_and_line(capsys, store, tmp_path, line, message):
    path = tmp_path / "w.jsonl"
    path.write_text(json.dumps(row(0)) + "\n" + line + "\n")
    assert main(["cache", "plan", str(store), str(path)]) == 2
    error = capsys.readouterr().err
    assert "w.jsonl:2: " in error
    assert message in error
    assert error.count("\n") == 1


def test_verify(capsys, store):
    code, found = run_json(capsys, "verify", store)
    assert (code, found["good"], found["samples"], found["shards"], found["damage"]) == (0, True, 6, 2, [])
    assert "all good" in run(capsys, "verify", store)[1]
    shard = damage(store)
    code, found = run_json(capsys, "verify", store)
    assert (code, found["good"]) == (1, False)
    (fault,) = found["damage"]
    assert (fault["shard"], fault["reason"]) == (shard, "the checksum is wrong")
    code, out = run(capsys, "verify", store)
    assert code == 1
    assert fault["key"] in out
    assert "1 fault; `ea-data cache gc --deep`" in out


def test_explain_a_sample(capsys, store):
    key = recipe(2).key
    for query in (key, key[:8], "clips/2.mp4"):
        code, found = run_json(capsys, "explain", store, query)
        (sample,) = found["samples"]
        assert (code, sample["key"], sample["state"], sample["source"]) == (0, key, "good", "clips/2.mp4")
        assert sample["recipe"] == recipe(2).as_json()
        assert sample["fields"] == {"latents": "bfloat16 4x2x3x3", "text": "float16 5x8"}
    code, out = run(capsys, "explain", store, key)
    assert f"{key}  good\n" in out
    assert f'  inputs     {{"video": "{digest_text("clip 2")}"}}\n' in out


def test_explain_what_is_not_there(capsys, store, tmp_path):
    other = recipe(2, encoders={"vae": "e" * 16}, code="9")
    code, found = run_json(capsys, "explain", store, other.key)
    assert (code, found["samples"][0]["state"]) == (1, "missing")
    for query in ("abc", "123456789a", "clips/99.mp4"):
        code, found = run_json(capsys, "explain", store, query)
        (sample,) = found["samples"]
        assert (code, sample["key"], sample["state"]) == (1, query, "missing")
        assert "no sample of such a source or beginning of a key" in sample["reason"]
    rows = [{**other.as_json(), "source": "clips/2.mp4"}, row(50)]
    wanted = wanted_file(tmp_path / "w.jsonl", rows)
    code, out = run(capsys, "explain", store, other.key, "--wanted", wanted)
    assert code == 1
    assert f"{other.key}  missing: the store has it with another encoders.vae, code\n" in out
    code, out = run(capsys, "explain", store, recipe(50).key, "--wanted", wanted)
    assert (code, "missing: the store has nothing of its source" in out) == (1, True)
    code, found = run_json(capsys, "explain", store, "clips/2.mp4", "--wanted", wanted)
    assert (code, [each["state"] for each in found["samples"]]) == (1, ["good", "missing"])


def test_damaged_notes_hide_what_a_sample_is_and_nothing_else(capsys, store, tmp_path):
    for path in store.glob("shards/*.manifest"):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1  # the end of the notes
        path.write_bytes(content)
    assert CacheStore(store).missing(recipe(number).key for number in range(6)) == []
    code, found = run_json(capsys, "explain", store, recipe(2).key)
    assert (code, found["samples"][0]["state"], found["samples"][0]["recipe"]) == (1, "damaged", None)
    assert "the checksum of its notes is wrong" in found["samples"][0]["reason"]
    wanted = wanted_file(tmp_path / "w.jsonl", [row(0), row(1, code="2")])
    code, found = run_json(capsys, "plan", store, wanted)
    assert (found["present"], found["missing"], found["stale"]) == (1, 1, 0)
    code, found = run_json(capsys, "gc", store, "--deep")
    assert (code, found["rewritten"], found["dropped"]) == (0, 6, {})
    code, found = run_json(capsys, "explain", store, recipe(2).key)
    assert (code, found["samples"][0]["recipe"], found["samples"][0]["source"]) == (0, None, "")


def test_explain_damage(capsys, store):
    damage(store)
    states = {}
    for number in range(6):
        code, found = run_json(capsys, "explain", store, recipe(number).key)
        states[found["samples"][0]["state"]] = code
        assert found["samples"][0]["recipe"] == recipe(number).as_json()
    assert states == {"good": 0, "damaged": 1}


def test_gc_keeps_what_is_wanted(capsys, store, tmp_path):
    wanted = wanted_file(tmp_path / "w.jsonl", [row(number) for number in (1, 3, 5, 90)])
    before = sorted(path.name for path in store.rglob("*"))
    code, planned = run_json(capsys, "gc", store, "--keep", wanted, "--dry-run")
    assert (code, planned["dropped"]) == (0, {"not wanted": 3})
    assert sorted(path.name for path in store.rglob("*") if path.name != "gc.lock") == before
    code, done = run_json(capsys, "gc", store, "--keep", wanted)
    assert code == 0
    assert {**done, "dry_run": True} == planned
    left = CacheStore(store)
    assert len(left) == 3
    assert left.missing(recipe(number).key for number in (1, 3, 5)) == []
    assert run(capsys, "verify", store)[0] == 0
    code, out = run(capsys, "explain", store, "clips/3.mp4")
    assert (code, recipe(3).key in out) == (0, True)
    code, out = run(capsys, "gc", store)
    assert (code, out) == (0, "0 files removed, 0 B\n")


def test_gc_drops_damage_when_it_is_deep(capsys, store):
    shard = damage(store)
    assert run(capsys, "gc", store) == (0, "0 files removed, 0 B\n")
    code, out = run(capsys, "gc", store, "--deep")
    assert code == 0
    assert "1 sample dropped: damaged\n2 samples written anew\n2 files removed" in out
    assert shard in out
    assert run(capsys, "verify", store)[0] == 0
    assert len(CacheStore(store)) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ls", "{folder}/none"], "is no store: it has no store.json"),
        (["verify", "{folder}"], "is no store"),
        (["gc", "{folder}"], "is no store"),
        (["explain", "{folder}/store", ""], "the sample to explain is empty; allowed: a key"),
        (
            ["gc", "{folder}/store", "--keep", "{folder}/e.jsonl"],
            "which names no sample, so that all would go",
        ),
        (["plan", "{folder}/store", "{folder}/none.jsonl"], "No such file"),
        (["plan", "{folder}/store", "{folder}/store"], "Is a directory"),
        (["gc", "{folder}/store", "--keep", "{folder}/none.jsonl"], "No such file"),
        (["plan", "{folder}/store", "{folder}/e.jsonl", "--sample-bytes", "-1"], "--sample-bytes is -1"),
    ],
)
def test_mistakes_are_one_line(capsys, store, tmp_path, words, message):
    (tmp_path / "e.jsonl").write_text("")
    assert main(["cache", *(word.format(folder=tmp_path) for word in words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ea-data cache: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_strange_names_are_shown_on_one_line(capsys, tmp_path):
    names = ["b\udcff.mp4", "a\nb\x1b[31m.mp4", "猫.mp4"]
    with CacheWriter(tmp_path) as writer:
        for number, name in enumerate(names):
            writer.put(recipe(number), fields(number), source=name)
    for number, name in enumerate(names):
        code, out = run(capsys, "explain", tmp_path, recipe(number).key)
        assert code == 0
        shown = next(line for line in out.splitlines() if line.startswith("  source"))
        assert "\x1b" not in out
        assert shown.endswith(".mp4")
        _, found = run_json(capsys, "explain", tmp_path, name)
        assert found["samples"][0]["source"] == name


@pytest.mark.parametrize("action", ["ls", "plan", "verify", "explain", "gc"])
def test_help(capsys, action):
    with pytest.raises(SystemExit) as ended:
        main(["cache", action, "--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out
