"""Strict loading, streaming from shards, atomic saving."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from ea_kernels.runtime.files import replacing
from ea_kernels.runtime.weights import (
    Drop,
    KeyMap,
    Rename,
    Split,
    load_into,
    load_weights,
    read_config,
    save_checkpoint,
    stored_shapes,
    weight_files,
)

MAP = KeyMap((Drop("unused"), Rename("lin.{p}", "linear.{p}"), Split("kv.{p}", ("key.{p}", "value.{p}"))))


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.key = nn.Linear(2, 2)
        self.value = nn.Linear(2, 2)
        self.register_buffer("table", torch.zeros(2), persistent=False)

    def reset_buffers(self):
        self.table = torch.arange(2.0)


@pytest.fixture
def released():
    return {
        "lin.weight": torch.randn(3, 2),
        "lin.bias": torch.randn(3),
        "kv.weight": torch.randn(4, 2),
        "kv.bias": torch.randn(4),
        "unused": torch.zeros(7),
    }


def write_shards(folder, state):
    names = sorted(state)
    parts = {"a.safetensors": names[:2], "b.safetensors": names[2:]}
    for file, part in parts.items():
        save_file({name: state[name] for name in part}, folder / file)
    table = {name: file for file, part in parts.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


@pytest.mark.parametrize("sharded", [False, True])
def test_load_into(released, tmp_path, sharded):
    if sharded:
        write_shards(tmp_path, released)
    else:
        save_file(released, tmp_path / "model.safetensors")
    model = load_into(Small, tmp_path, key_map=MAP)
    assert torch.equal(model.linear.weight, released["lin.weight"])
    assert torch.equal(model.value.bias, released["kv.bias"][2:])
    assert model.table.tolist() == [0.0, 1.0]
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_number_types(released, tmp_path):
    save_file(released | {"steps": torch.tensor(3)}, tmp_path / "model.safetensors")
    state = load_weights(tmp_path, key_map=MAP, dtype=torch.bfloat16, keep_float32=("linear.*",))
    assert state["linear.bias"].dtype == torch.float32
    assert state["key.bias"].dtype == torch.bfloat16
    assert state["steps"].dtype == torch.int64


def test_unfilled_buffers_are_noticed(released, tmp_path):
    class Forgetful(Small):
        reset_buffers = None

    save_file(released, tmp_path / "model.safetensors")
    with pytest.raises(AssertionError, match="table was not filled"):
        load_into(Forgetful, tmp_path, key_map=MAP)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kv.bias": None}, r"missing tensor 'kv\.bias'"),
        ({"more": torch.zeros(1)}, r"unexpected tensor 'more'$"),
        ({"lin.bias": torch.zeros(4)}, r"tensor 'lin\.bias' has shape \[4\], expected \[3\]$"),
        ({"kv.bias": torch.zeros(3)}, r"tensor 'kv\.bias': a dimension of 3 cannot be split"),
        ({"linear.bias": torch.zeros(3)}, r"tensors 'lin\.bias' and 'linear\.bias' are the same"),
    ],
)
def test_wrong_tensors_are_named_with_the_file(released, tmp_path, change, message):
    state = {name: tensor for name, tensor in (released | change).items() if tensor is not None}
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message) as caught:
        load_into(Small, tmp_path, key_map=MAP)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_weight_files(released, tmp_path):
    with pytest.raises(ValueError, match="no such file or directory"):
        weight_files(tmp_path / "nothing")
    with pytest.raises(ValueError, match="no weights"):
        weight_files(tmp_path)
    save_file(released, tmp_path / "one.safetensors")
    assert weight_files(tmp_path) == [tmp_path / "one.safetensors"]
    save_file(released, tmp_path / "two.safetensors")
    with pytest.raises(ValueError, match="several safetensors files"):
        weight_files(tmp_path)
    save_file(released, tmp_path / "model.safetensors")
    assert weight_files(tmp_path) == [tmp_path / "model.safetensors"]


@pytest.mark.parametrize(
    ("shard", "message"),
    [
        ("gone.safetensors", r"index\.json: shard 'gone\.safetensors' is missing"),
        ("../outside.safetensors", r"must hold names of files beside it, got the path '\.\./outside\.safe"),
        (
            "../../../etc/passwd",
            r"must hold .* beside it, got the path '\.\./\.\./\.\./etc/passwd'",
        ),
        ("/etc/passwd", r"must hold names of files beside it, got the path '/etc/passwd'"),
        ("..", r"shard '\.\.' is missing"),
        (["a", "b"], r"shard \"\['a', 'b'\]\" is missing"),
    ],
)
def test_bad_shard_indices(released, tmp_path, shard, message):
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(released, tmp_path / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lin.weight": shard}}))
    with pytest.raises(ValueError, match=message):
        weight_files(folder)


def test_pickles(released, tmp_path):
    torch.save({"state_dict": released}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt: is a pickle"):
        load_into(Small, tmp_path / "model.pt", key_map=MAP)
    model = load_into(Small, tmp_path / "model.pt", key_map=MAP, allow_pickle=True)
    assert torch.equal(model.linear.bias, released["lin.bias"])
    released.pop("lin.bias")
    torch.save(released, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"missing tensor 'lin\.bias'"):
        load_into(Small, tmp_path / "model.pt", key_map=MAP, allow_pickle=True)


def test_save_and_load(tmp_path):
    model = Small()
    file = save_checkpoint(
        tmp_path / "new", config={"a": 1}, state_dict=model.state_dict(), key_map=MAP, metadata={"step": "5"}
    )
    assert read_config(tmp_path / "new") == {"a": 1}
    assert stored_shapes(file)["kv.weight"] == (4, 2)
    with safe_open(file, framework="pt") as handle:
        assert handle.metadata() == {"format": "pt", "step": "5"}
    again = load_into(Small, tmp_path / "new", key_map=MAP)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")

    def interrupted():
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_shared_tensors_are_written_apart(tmp_path):
    shared = torch.randn(2, 2)
    save_checkpoint(tmp_path, config={}, state_dict={"a": shared, "b": shared, "c": shared[:1]})
    assert torch.equal(load_weights(tmp_path)["b"], shared)
