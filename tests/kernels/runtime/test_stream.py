"""Checkpoints rewritten from disk to disk in pieces, and headers that are wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ea_kernels.runtime import stream
from ea_kernels.runtime.files import new_directory, weight_files
from ea_kernels.runtime.finite import find_non_finite
from ea_kernels.runtime.key_map import Drop, KeyMap, Rename, Split
from ea_kernels.runtime.stored import read_header, stored_tensors
from ea_kernels.runtime.stream import plan_rewrite, renames, write_rewritten

OLD = KeyMap((Rename("a.{p}", "one.{p}"), Split("qkv", ("q", "k", "v")), Drop("junk")))
NEW = KeyMap((Rename("first.{p}", "one.{p}"), Split("fused", ("q", "k", "v"))))


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(7, 5, generator=generator),
        "a.bias": torch.tensor([float("nan"), -0.0, float("inf")], dtype=torch.bfloat16),
        "half": torch.randn(11, generator=generator).half(),
        "steps": torch.arange(3),
        "flag": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.empty(0, 4),
        "small": torch.randn(9, generator=generator).to(torch.float8_e4m3fn),
    }


@pytest.fixture
def source(tmp_path, state):
    folder = tmp_path / "source"
    folder.mkdir()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt", "made": "here"})
    return folder


def bits(tensor):
    return tensor.dtype, tensor.shape, tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def load_all(folder):
    return {name: value for file in weight_files(folder) for name, value in load_file(file).items()}


def rewrite(source, target, names=None, dtype=None, **options):
    target.mkdir()
    return write_rewritten(target, plan_rewrite(stored_tensors(source), names or {}, dtype), **options)


@pytest.mark.parametrize("piece", [8, 24, 16 << 20])
@pytest.mark.parametrize("max_shard", [1, 100, 10**9])
def test_what_is_written_is_what_was_read(source, state, tmp_path, monkeypatch, piece, max_shard):
    monkeypatch.setattr(stream, "_PIECE", piece)
    done = []
    files = rewrite(source, tmp_path / "new", {"half": "whole"}, max_shard=max_shard, on_bytes=done.append)
    found = load_all(tmp_path / "new")
    expected = {{"half": "whole"}.get(name, name): bits(value) for name, value in state.items()}
    assert {name: bits(value) for name, value in found.items()} == expected
    assert sum(done) == sum(value.nbytes for value in state.values())
    assert (len(files) > 1) == (max_shard < 10**9)
    assert sorted(weight_files(tmp_path / "new")) == sorted(files)


def test_the_index_names_every_tensor_and_the_sum(source, state, tmp_path):
    files = rewrite(source, tmp_path / "new", max_shard=100)
    index = json.loads((tmp_path / "new/diffusion_pytorch_model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in state.values())
    for file in files:
        with safe_open(file, framework="pt") as handle:
            assert {index["weight_map"][name] for name in handle.keys()} == {file.name}  # noqa: SIM118
    assert files[0].name == f"diffusion_pytorch_model-00001-of-{len(files):05d}.safetensors"
    # The largest tensor alone is 140 bytes.
    assert all(sum(tensor.size for tensor in read_header(file)[0]) <= 140 for file in files)


def test_floats_are_cast_and_nothing_else(source, state, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "_PIECE", 16)
    rewrite(source, tmp_path / "new", dtype=torch.float16, metadata={"made": "there"})
    found = load_all(tmp_path / "new")
    for name, value in state.items():
        assert bits(found[name]) == bits(value.half() if value.is_floating_point() else value)
    assert read_header(tmp_path / "new" / "diffusion_pytorch_model.safetensors")[1] == {
        "format": "pt",
        "made": "there",
    }


def test_the_header_tells_everything_without_reading_tensors(source, state):
    tensors, metadata = read_header(source / "model.safetensors")
    assert {t.name: t.shape for t in tensors} == {name: tuple(value.shape) for name, value in state.items()}
    assert {t.name: t.size for t in tensors} == {name: value.nbytes for name, value in state.items()}
    assert metadata == {"format": "pt", "made": "here"}


def test_names_go_from_one_layout_to_the_other_and_back():
    names = ["a.weight", "qkv", "other"]
    there = renames(names, OLD, NEW)
    assert there == {"a.weight": "first.weight", "qkv": "fused", "other": "other"}
    assert renames(there.values(), NEW, OLD) == {new: old for old, new in there.items()}
    with pytest.raises(ValueError, match="'junk' has no counterpart"):
        renames(["junk"], OLD, NEW)
    with pytest.raises(ValueError, match="'qkv' has no counterpart"):
        renames(["qkv"], OLD, KeyMap((Rename("query", "q"),)))


def test_damaged_files_get_one_line(source, tmp_path):
    file = source / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    with pytest.raises(ValueError, match=rf"is cut off: it has {len(whole) - 3} bytes, its header promises"):
        read_header(file)
    for damaged in (b"", b"12345", whole[:40], b"\xff" * 64, (2).to_bytes(8, "little") + b"[]"):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors: is (not a safetensors file|cut off)"):
            read_header(file)
    header = json.dumps({"x": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 12)
    with pytest.raises(ValueError, match="'x' takes 8 bytes, its shape needs 12"):
        read_header(file)
    file.write_bytes(len(header).to_bytes(8, "little") + header.replace(b"F32", b"Q32") + b"\0" * 12)
    with pytest.raises(ValueError, match="unknown number type 'Q32'"):
        read_header(file)
    with pytest.raises(ValueError, match="cannot be read"):
        read_header(tmp_path / "none.safetensors")


def test_a_file_that_shrinks_meanwhile_is_noticed(source, tmp_path):
    tensors = plan_rewrite(stored_tensors(source), {})
    file = source / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-30])
    (tmp_path / "new").mkdir()
    with pytest.raises(ValueError, match="is cut off inside tensor"):
        write_rewritten(tmp_path / "new", tensors)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    for number in (1, 2):
        save_file({"x": torch.ones(1)}, tmp_path / f"s{number}.safetensors")
    index = {"weight_map": {"x": "s1.safetensors", "y": "s2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"s2.safetensors: tensor 'x' is in s1.safetensors as well"):
        stored_tensors(tmp_path)


def test_a_new_directory_is_there_as_a_whole_or_not_at_all(tmp_path):
    def fail(draft):
        (draft / "half").write_text("written")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), new_directory(tmp_path / "x") as draft:
        fail(draft)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x").mkdir()
    with new_directory(tmp_path / "x") as draft:
        (draft / "all").write_text("written")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["x", "x/all"]
    with pytest.raises(ValueError, match="exists already"), new_directory(tmp_path / "x"):
        pass


def test_drafts_of_dead_processes_are_removed_and_no_others(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    alive = os.getppid()
    for name in (f".x.{dead.pid}.partial", f".x.{alive}.partial", f".y.{dead.pid}.partial", ".x.me.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("written")
    with new_directory(tmp_path / "x") as draft:
        (draft / "all").write_text("written")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([f".x.{alive}.partial", f".y.{dead.pid}.partial", ".x.me.partial", "x"])


@pytest.mark.parametrize("name", ["half", "small", "scalar", "a.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_numbers_that_are_none_are_found(state, tmp_path, name, value, monkeypatch):
    monkeypatch.setattr(stream, "_PIECE", 16)
    del state["a.bias"]
    for save, file in ((save_file, tmp_path / "a.safetensors"), (torch.save, tmp_path / "b.bin")):
        save(state, file)
        assert list(find_non_finite(stored_tensors(file, allow_pickle=True))) == []
    wide = state[name].float().reshape(-1)
    wide[-1] = value if name != "small" else float("nan")  # this float8 has no infinity
    spoilt = state | {name: wide.to(state[name].dtype).view(state[name].shape)}
    for save, file in ((save_file, tmp_path / "a.safetensors"), (torch.save, tmp_path / "b.bin")):
        save(spoilt, file)
        assert [found.name for found in find_non_finite(stored_tensors(file, allow_pickle=True))] == [name]
