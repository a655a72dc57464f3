"""The stand-in for `load_pipeline` that commands of the tests share."""

import os

import pytest
from loaded import KEPT, Loaded


@pytest.fixture
def loaded():
    return Loaded(lambda directory, **given: object())


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("1")
    return tmp_path / "model"


def test_a_model_is_given_again_while_it_is_the_same(loaded, model):
    first = loaded(model, dtype="float32")
    assert loaded(model, dtype="float32") is first
    assert loaded(model, dtype="bfloat16") is not first
    for changes in ({"loras": ("a",)}, {"memory": "sequential_cpu_offload"}, {"allow_pickle": True}):
        once = loaded(model, dtype="float32", **changes)
        assert once is not first
        assert loaded(model, dtype="float32", **changes) is not once


def test_a_change_of_a_file_or_of_the_environment_loads_it_anew(loaded, model, tmp_path, monkeypatch):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"a")

    def load():
        return loaded(model, transformer_weights=weights)

    seen = [load()]
    (model / "config.json").write_text("22")
    seen.append(load())
    os.utime(model / "config.json", (0, 0))
    seen.append(load())
    (model / "more.json").write_text("")
    seen.append(load())
    weights.write_bytes(b"bb")
    seen.append(load())
    monkeypatch.setenv("EA_LINEAR", "int8")
    seen.append(load())
    assert len(set(map(id, seen))) == len(seen)
    assert load() is seen[-1]


def test_few_are_kept(loaded, tmp_path):
    folders = [tmp_path / str(number) for number in range(KEPT + 1)]
    first, *_ = [loaded(folder) for folder in folders]
    assert loaded(folders[0]) is not first
