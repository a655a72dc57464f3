"""`ea-train precompute` from the outside: what it makes, what it makes again, and training from it."""

import errno
import json
import multiprocessing
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.train import fillings

from ea_data.store import CacheStore, writer
from ea_train import cli, schema
from ea_train.encoded.writing import EncodedWriter
from ea_train.recipes import find


def options(model, data, cache=None, *values):
    more = [part for value in ("validation.positions=[0.5]", *values) for part in ("--set", value)]
    store = [] if cache is None else ["--cache", str(cache)]
    places = ["--model", str(model), "--data", str(data)]
    return ["--preset", "tiny", "--device", "cpu", *places, *store, *more]


def fill(model, data, cache, *values, recipe="finetune", more=()):
    return cli.main(["precompute", recipe, *options(model, data, cache, *values), *more])


def train(output, model, data, cache=None, *values, recipe="finetune"):
    """The losses of a run."""
    values = ("loop.steps=2", "loop.validate_every=1", "data.distinct_epochs=1", *values)
    assert cli.main([recipe, "--output", str(output), *options(model, data, cache, *values)]) == 0
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    names = ("loss/generator", "val/loss")
    return [(line["step"], name, line[name]) for line in lines for name in names if name in line]


@pytest.mark.parametrize(
    ("family", "controls"),
    [
        # What V5.1 and V3 cache for pictures is what its control model and V4 do.
        pytest.param("v5.1-7b-inp", (), marks=pytest.mark.slow),
        ("v5.1-7b-control", ("edges",)),
        ("v5.1-12b-camera", ("camera",)),
        ("v4-inp", ()),
        pytest.param("v3-inp", (), marks=pytest.mark.slow),
        ("v1-t2v", ()),
        ("open-sora-1.1", ()),
    ],
)
def test_cached_and_live_runs_have_the_same_losses(family, controls, tiny_model, clips, tmp_path, capsys):
    model, data = tiny_model(family), clips(*controls)
    assert fill(model, data, tmp_path / "cache") == 0
    assert "encodings made" in capsys.readouterr().out
    live = train(tmp_path / "live", model, data)
    assert "not in" not in capsys.readouterr().err
    cached = train(tmp_path / "cached", model, data, tmp_path / "cache")
    assert "encoded live" not in capsys.readouterr().err
    assert [place[:2] for place in live] == [place[:2] for place in cached]
    torch.testing.assert_close(
        torch.tensor([one[2] for one in cached]), torch.tensor([one[2] for one in live]), rtol=2e-5, atol=0.0
    )


def keys(cache):
    store = CacheStore(cache)
    return {store.key_at(place) for place in range(len(store))}


def test_a_second_call_makes_nothing(tiny_model, clips, tmp_path, capsys):
    model, data = tiny_model("v5.1-7b-t2v"), clips()
    assert fill(model, data, tmp_path / "cache") == 0
    before = keys(tmp_path / "cache")
    capsys.readouterr()
    assert fill(model, data, tmp_path / "cache", recipe="finetune-lora", more=["--workers", "1"]) == 0
    assert "everything was there" in capsys.readouterr().out
    assert keys(tmp_path / "cache") == before


def test_only_what_changed_is_made_anew(tiny_model, clips, tmp_path, capsys):
    """A caption, the weights of an encoder, the size of clips: each changes the keys that depend on it."""
    model, data, cache = tiny_model("v5.1-7b-t2v"), clips(), tmp_path / "cache"
    assert fill(model, data, cache) == 0
    first, store = keys(cache), CacheStore(cache)
    texts = {key for key in first if "states" in store.read(key)}

    rows = [json.loads(line) for line in data.read_text().splitlines()]
    rows[1]["text"] = "another caption"
    changed = data.with_name("changed.jsonl")
    changed.write_text("\n".join(map(json.dumps, rows)))
    assert fill(model, changed, cache) == 0
    assert len(new := keys(cache) - first) == 1
    assert set(CacheStore(cache).read(new.pop())) == {"states", "mask"}

    first = keys(cache)
    other = tmp_path / "model"
    shutil.copytree(model, other)
    weights = next((other / "vae").glob("*.safetensors"))
    save_file({name: tensor * 1.01 for name, tensor in load_file(weights).items()}, weights)
    assert fill(other, data, cache) == 0
    store = CacheStore(cache)
    new = keys(cache) - first
    assert len(new) == len(first) - len(texts) - 1
    assert all("mean" in store.read(key) for key in new)

    first = keys(cache)
    assert fill(model, data, cache, "data.recipe.shapes.video_sample_size=48") == 0
    assert len(keys(cache) - first) == len(new)
    capsys.readouterr()
    # The transformer encodes nothing, and where files are does not matter.
    moved = tmp_path / "moved"
    shutil.copytree(data.parent, moved)
    assert fill(model, moved / data.name, cache, "model.start=random") == 0
    assert "everything was there" in capsys.readouterr().out


def test_epochs_are_cached_and_come_again(tiny_model, clips, tmp_path, capsys):
    model, data, cache = tiny_model("v5.1-7b-t2v"), clips(), tmp_path / "cache"
    shorter = "data.recipe.shapes.video_sample_n_frames=5"
    assert fill(model, data, cache, shorter, more=["--epochs", "2"]) == 0
    capsys.readouterr()
    more = (shorter, "loop.steps=7", "data.distinct_epochs=2")
    assert train(tmp_path / "run", model, data, cache, *more)
    assert "encoded live" not in capsys.readouterr().err
    task = build(model, data, cache, shorter, "data.distinct_epochs=2")
    batches = [task.source.data.planned(number) for number in range(7)]
    assert [key.row for key in batches[0].keys] == [key.row for key in batches[6].keys]
    assert batches[0].drawn[0].choices == batches[6].drawn[0].choices
    assert (batches[0].caption_epoch, batches[6].caption_epoch) == (0, 2)


def build(model, data, cache, *values):
    settings = schema.override(
        find("finetune").config("tiny"),
        [f"model.path={model}", f"data.manifest={data}", f"data.cache={cache}", *values],
    )
    return find("finetune").build(settings, device=torch.device("cpu"))


def test_what_is_missing_is_encoded_live_and_may_be_kept(tiny_model, clips, tmp_path, capsys):
    model, data, cache = tiny_model("v5.1-7b-inp"), clips(), tmp_path / "cache"
    live = train(tmp_path / "live", model, data)
    capsys.readouterr()
    assert train(tmp_path / "read", model, data, cache) == live
    assert f"cache: 1 encoding was not in {cache} so far; encoded live\n" in capsys.readouterr().err
    assert len(CacheStore(cache)) == 0
    assert train(tmp_path / "fill", model, data, cache, "data.cache_mode=fill") == live
    assert "encoded live and added to it" in capsys.readouterr().err
    assert len(CacheStore(cache)) > 8
    torch.testing.assert_close(*figures(train(tmp_path / "again", model, data, cache), live))
    assert "encoded live" not in capsys.readouterr().err


def figures(*runs):
    return [torch.tensor([one[2] for one in run]) for run in runs]


def test_a_damaged_shard_is_named_and_never_served(tiny_model, clips, tmp_path, capsys):
    model, data, cache = tiny_model("v5.1-7b-t2v"), clips(), tmp_path / "cache"
    assert fill(model, data, cache) == 0
    live = train(tmp_path / "live", model, data)
    shard = next((cache / "shards").glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    for place in range(len(content) // 4, len(content), 512):
        content[place] ^= 0xFF
    shard.write_bytes(content)
    capsys.readouterr()
    torch.testing.assert_close(*figures(train(tmp_path / "cached", model, data, cache), live))
    told = capsys.readouterr().err
    assert f"cache: {shard.stem} in {cache}: sample" in told
    assert "the checksum is wrong" in told
    assert "encoded live" in told
    # The same command mends it.
    assert fill(model, data, cache) == 0
    capsys.readouterr()
    torch.testing.assert_close(*figures(train(tmp_path / "mended", model, data, cache), live))
    assert "encoded live" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "more", "message"),
    [
        (("data.cache_mode=fill",), (), "data.cache_mode is 'fill' without data.cache"),
        ((), (), "data.cache is empty; give the folder to fill (--cache DIR)"),
        ((), ("--cache", "CACHE", "--epochs", "0"), "data.distinct_epochs must be at least 1"),
        ((), ("--cache", "CACHE", "--workers", "-1"), "--workers must be at least 0, got -1"),
        ((), ("--cache", "MODEL"), "is no store and holds"),
    ],
)
def test_mistakes_are_one_line(values, more, message, tiny_model, clips, tmp_path, capsys):
    model = tiny_model("v5.1-7b-t2v")
    places = {"CACHE": str(tmp_path / "cache"), "MODEL": str(model)}
    given = [places.get(one, one) for one in more]
    assert fill(model, clips(), None, *values, more=given) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_a_full_disk_is_told_and_what_was_published_stays(tiny_model, clips, tmp_path, capsys, monkeypatch):
    model, data, cache = tiny_model("v5.1-7b-t2v"), clips(), tmp_path / "cache"
    writes, real = [], writer.write_container

    def full(*arguments):
        writes.append(1)
        if len(writes) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(writer, "write_container", full)
    monkeypatch.setattr(EncodedWriter.__init__, "__kwdefaults__", {"shard_bytes": 1, "seconds": 0.0})
    assert fill(model, data, cache) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "cannot write" in told
    assert "No space left on device" in told
    assert len(CacheStore(cache)) >= 2
    monkeypatch.undo()
    assert fill(model, data, cache) == 0
    assert not list((cache / "shards").glob("*.part"))


def test_training_goes_on_where_its_store_is_full(tiny_model, clips, tmp_path, capsys, monkeypatch):
    model, data, cache = tiny_model("v5.1-7b-t2v"), clips(), tmp_path / "cache"
    live = train(tmp_path / "live", model, data)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer, "write_container", full)
    monkeypatch.setattr(EncodedWriter.__init__, "__kwdefaults__", {"shard_bytes": 1, "seconds": 0.0})
    capsys.readouterr()
    assert train(tmp_path / "fill", model, data, cache, "data.cache_mode=fill") == live
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "No space left" in line]
    assert told.startswith("cache: cannot write ")
    assert told.endswith("; no more is added to it, and training goes on")
    assert not list((cache / "writers").iterdir())


def test_data_that_cannot_be_used_are_one_line(tiny_model, clips, tmp_path, capsys):
    model, empty = tiny_model("v5.1-7b-t2v"), tmp_path / "empty.jsonl"
    empty.write_text("")
    assert fill(model, empty, tmp_path / "cache") == 2
    assert "empty.jsonl" in capsys.readouterr().err.splitlines()[-1]
    rows = [json.loads(line) for line in clips().read_text().splitlines()]
    broken = tmp_path / "broken.jsonl"
    for row in rows:
        (tmp_path / row["file_path"]).parent.mkdir(exist_ok=True)
        (tmp_path / row["file_path"]).write_bytes(b"no video")
    broken.write_text("\n".join(map(json.dumps, rows)))
    for workers in ("0", "1"):
        assert fill(model, broken, tmp_path / "cache", more=["--workers", workers]) == 2
        told = capsys.readouterr().err.splitlines()
        assert told[-1].startswith("ea-train: error: ")
        assert "Traceback" not in "".join(told)
        assert not multiprocessing.active_children()


@pytest.fixture(scope="module")
def ended(tiny_model, clips, tmp_path_factory):
    """Stores of commands that were killed, stopped, and two at once; how they ended; a whole store."""
    folder = tmp_path_factory.mktemp("ended")
    model, data = tiny_model("v5.1-7b-t2v"), clips()
    assert fill(model, data, folder / "whole") == 0
    command = [sys.executable, fillings.__file__, str(folder), *options(model, data)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


@pytest.mark.parametrize(("name", "status"), [("killed", -9), ("stopped", 130)])
def test_a_command_that_was_ended_in_the_middle_continues(name, status, ended, tiny_model, clips, capsys):
    folder, ends = ended
    cache, whole = folder / name, keys(folder / "whole")
    assert ends[name] == status, (folder / f"{name}.err").read_text()
    assert 0 < len(before := keys(cache)) < len(whole)
    capsys.readouterr()
    assert fill(tiny_model("v5.1-7b-t2v"), clips(), cache) == 0
    assert int(capsys.readouterr().out.split()[0]) == len(whole) - len(before)
    assert keys(cache) == whole


def test_two_commands_at_once(ended):
    folder, ends = ended
    assert ends["shared"] == [0, 0], (folder / "shared.err").read_text()
    assert keys(folder / "shared") == keys(folder / "whole")
    store, whole = CacheStore(folder / "shared"), CacheStore(folder / "whole")
    for key in keys(folder / "whole"):
        one, other = store.read(key), whole.read(key)
        assert all(torch.equal(one[name].to_torch(), other[name].to_torch()) for name in other)
