"""Weights in pickles: behind a flag, without running anything, and never silently half."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from ea_kernels.runtime import stream
from ea_kernels.runtime.files import stored_shapes, weight_files
from ea_kernels.runtime.pickles import read_pickle
from ea_kernels.runtime.stored import check_whole, stored_metadata, stored_tensors
from ea_kernels.runtime.stream import plan_rewrite, write_rewritten
from ea_kernels.runtime.weights import load_weights


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(300, 40, generator=generator),
        "b.weight": torch.randn(5, 3, generator=generator).T,  # not contiguous
        "c.half": torch.randn(7, generator=generator).to(torch.bfloat16),
        "d.count": torch.tensor(3),
        "e.empty": torch.zeros(0, 2),
    }


def write_shards(folder, state, stem="pytorch_model"):
    names = sorted(state)
    parts = {f"{stem}-00001-of-00002.bin": names[:2], f"{stem}-00002-of-00002.bin": names[2:]}
    for file, part in parts.items():
        torch.save({name: state[name] for name in part}, folder / file)
    table = {name: file for file, part in parts.items() for name in part}
    (folder / f"{stem}.bin.index.json").write_text(json.dumps({"weight_map": table}))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def legacy(content, file):
    torch.save(content, file, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("save", [torch.save, legacy])
@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt"])
def test_a_pickle_needs_the_flag(state, tmp_path, save, suffix):
    file = tmp_path / f"weights{suffix}"
    save(state, file)
    for path in (file, tmp_path):
        with pytest.raises(ValueError, match=rf"weights\{suffix}: is a pickle, .* \(--allow-pickle\) reads"):
            load_weights(path)
        assert same(load_weights(path, allow_pickle=True), state)
        assert stored_shapes(path, allow_pickle=True) == {name: tuple(t.shape) for name, t in state.items()}


@pytest.mark.parametrize("stem", ["pytorch_model", "diffusion_pytorch_model", "model"])
def test_shards_with_an_index(state, tmp_path, stem):
    write_shards(tmp_path, state, stem)
    with pytest.raises(ValueError, match=rf"{stem}-00001-of-00002\.bin: is a pickle"):
        weight_files(tmp_path)
    assert same(load_weights(tmp_path, allow_pickle=True), state)
    (tmp_path / f"{stem}-00002-of-00002.bin").unlink()
    with pytest.raises(ValueError, match=rf"index\.json: shard '{stem}-00002-of-00002\.bin' is missing"):
        weight_files(tmp_path, allow_pickle=True)


def test_an_index_does_not_point_out_of_its_folder(state, tmp_path):
    torch.save(state, tmp_path / "secret.bin")
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save(state, folder / "other.bin")
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "../secret.bin"}}))
    with pytest.raises(ValueError, match=r"got the path '\.\./secret\.bin'"):
        weight_files(folder, allow_pickle=True)


def test_safetensors_come_first_and_leftovers_of_training_do_not_count(state, tmp_path):
    torch.save(state, tmp_path / "optimizer.bin")
    torch.save(state, tmp_path / "scheduler.pt")
    with pytest.raises(
        ValueError, match=r"several pickles and no index; name one of optimizer\.bin, scheduler\.pt"
    ):
        weight_files(tmp_path, allow_pickle=True)
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert [file.name for file in weight_files(tmp_path, allow_pickle=True)] == ["pytorch_model.bin"]
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert [file.name for file in weight_files(tmp_path, allow_pickle=True)] == ["model.safetensors"]


@pytest.mark.parametrize("protocol", ["zip", "legacy", "plain"])
def test_code_in_a_pickle_never_runs(state, tmp_path, protocol, malicious):
    trace, file = tmp_path / "was-here", tmp_path / "model.bin"
    content = {**state, "bad": malicious(trace)}
    if protocol == "plain":
        file.write_bytes(pickle.dumps(content["bad"], protocol=2))
    else:
        (torch.save if protocol == "zip" else legacy)(content, file)
    for read in (read_pickle, lambda path: load_weights(path, allow_pickle=True)):
        with pytest.raises(ValueError, match="not a plain dictionary of tensors: it names code") as caught:
            read(file)
        assert "\n" not in str(caught.value)
    assert not trace.exists()
    pickle.loads(pickle.dumps(malicious(trace)))
    assert trace.exists()  # the same bytes do run where code is allowed


@pytest.mark.parametrize("save", [torch.save, legacy])
def test_a_cut_off_file_is_one_line(state, tmp_path, save):
    file = tmp_path / "model.bin"
    save(state, file)
    whole = file.read_bytes()
    for length in (0, 1, 2, 10, 60, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"model\.bin: not a plain dictionary of tensors") as caught:
            read_pickle(file)
        assert "\n" not in str(caught.value)


def test_damage_in_the_middle_is_one_line_or_other_numbers(state, tmp_path):
    file = tmp_path / "model.bin"
    legacy(state, file)
    whole = file.read_bytes()
    generator = torch.Generator().manual_seed(1)
    places = torch.randint(len(whole), (150,), generator=generator).tolist()
    places += torch.randint(600, (150,), generator=generator).tolist()  # where the names and types are
    messages = []
    for place in places:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x2A]) + whole[place + 1 :])
        try:
            assert all(isinstance(tensor, torch.Tensor) for tensor in read_pickle(file).values())
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(message.startswith(f"{file}: not a plain dictionary of tensors") for message in messages)


@pytest.mark.parametrize(
    "content",
    [
        [torch.zeros(1)],
        {"a": 1},
        {"a": torch.zeros(1), 3: torch.zeros(1)},
        {"state_dict": {"a": [torch.zeros(1)]}},
        {"a": torch.zeros(2, 2).to_sparse()},
        {"a": torch.zeros(1, dtype=torch.complex64)},
    ],
)
def test_what_is_no_dictionary_of_tensors(content, tmp_path):
    torch.save(content, tmp_path / "model.bin")
    with pytest.raises(ValueError, match="not a plain dictionary of tensors"):
        read_pickle(tmp_path / "model.bin")


def test_parameters_come_as_plain_tensors(tmp_path):
    torch.save({"state_dict": {"a": torch.nn.Parameter(torch.ones(2))}}, tmp_path / "model.ckpt")
    tensor = read_pickle(tmp_path / "model.ckpt")["a"]
    assert not tensor.requires_grad
    assert torch.equal(tensor, torch.ones(2))


@pytest.mark.parametrize("piece", [64, 1 << 20])
def test_pickles_are_rewritten_to_safetensors(state, tmp_path, monkeypatch, piece):
    monkeypatch.setattr(stream, "_PIECE", piece)
    write_shards(tmp_path, state)
    tensors = stored_tensors(tmp_path, allow_pickle=True)
    assert {tensor.name: tensor.dtype for tensor in tensors} == {
        "a.weight": "F32", "b.weight": "F32", "c.half": "BF16", "d.count": "I64", "e.empty": "F32",
    }  # fmt: skip
    assert stored_metadata(tensors[0].file) == {}
    target = tmp_path / "new"
    target.mkdir()
    done = []
    files = write_rewritten(target, plan_rewrite(tensors, {}), on_bytes=done.append)
    assert same(load_file(files[0]), state)
    assert sum(done) == sum(tensor.size for tensor in tensors)
    halved = write_rewritten(target, plan_rewrite(tensors, {}, torch.bfloat16))
    assert load_file(halved[0])["b.weight"].equal(state["b.weight"].to(torch.bfloat16))


def test_a_tensor_in_two_shards_is_refused(state, tmp_path):
    write_shards(tmp_path, state)
    torch.save(state, tmp_path / "pytorch_model-00002-of-00002.bin")
    with pytest.raises(ValueError, match=r"'a\.weight' is in pytorch_model-00001-of-00002\.bin as well"):
        stored_tensors(tmp_path, allow_pickle=True)


def test_a_checkpoint_is_found_whole_without_reading_it(state, tmp_path):
    write_shards(tmp_path, state)
    check_whole(tmp_path, allow_pickle=True)
    with pytest.raises(ValueError, match="is a pickle"):
        check_whole(tmp_path)
    file = tmp_path / "pytorch_model-00002-of-00002.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"00002-of-00002\.bin: .*damaged or cut off"):
        check_whole(tmp_path, allow_pickle=True)
    legacy(state, file)  # has no table: loading tells
    check_whole(tmp_path, allow_pickle=True)
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "model.safetensors")
    check_whole(tmp_path)
    cut = tmp_path / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"model\.safetensors: is cut off: it has \d+ bytes"):
        check_whole(tmp_path)
