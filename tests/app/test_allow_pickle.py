"""`--allow-pickle`: models whose weights are pickles, and the one line without the flag."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

PARTS = ("transformer", "vae", "text_encoder")


@pytest.fixture
def model(tiny_model, tmp_path):
    """The tiny model with its transformer and its autoencoder in pickles."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    for part in ("transformer", "vae"):
        file = next((folder / part).glob("*.safetensors"))
        torch.save(load_file(file), file.with_suffix(".bin"))
        file.unlink()
    return folder


def one_line(code, out, err, message, expected=2):
    assert (code, out) == (expected, "")
    assert err.count("\n") == 1, err
    assert message in err


REFUSED = "diffusion_pytorch_model.bin: is a pickle, and pickles can run code; allow_pickle (--allow-pickle)"


def test_convert(model, tiny_model, command, tmp_path):
    arguments = ("convert", model, "there", "--layout", "diffusers")
    one_line(*command(*arguments), REFUSED)
    assert not (tmp_path / "there").exists()
    code, out, err = command(*arguments, "--allow-pickle", "--quiet")
    assert (code, out, err) == (0, "", "")
    assert command("convert", tiny_model, "expected", "--layout", "diffusers", "--quiet")[0] == 0
    assert not list((tmp_path / "there").rglob("*.bin"))
    for part in PARTS:
        one, other = (next((tmp_path / name / part).glob("*.safetensors")) for name in ("there", "expected"))
        made, wanted = load_file(one), load_file(other)
        assert made.keys() == wanted.keys()
        assert all(torch.equal(made[name], wanted[name]) for name in wanted)


def encoder_in_pickles(folder):
    """Two shards with an index, as large encoders were released."""
    file = next(folder.glob("*.safetensors"))
    state = load_file(file)
    names = sorted(state)
    shards = {f"pytorch_model-0000{n + 1}-of-00002.bin": names[n::2] for n in range(2)}
    for shard, part in shards.items():
        torch.save({name: state[name] for name in part}, folder / shard)
    table = {name: shard for shard, part in shards.items() for name in part}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": table}))
    file.unlink()
    return state


def test_convert_leaves_no_pickle_of_an_encoder(tiny_model, command, tmp_path):
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    state = encoder_in_pickles(model / "text_encoder")
    arguments = ("convert", model, "there", "--layout", "diffusers")
    refused = "pytorch_model-00001-of-00002.bin: is a pickle, and pickles can run code; allow_pickle"
    one_line(*command(*arguments), refused)
    assert not (tmp_path / "there").exists()
    assert command(*arguments, "--allow-pickle", "--quiet") == (0, "", "")
    made = tmp_path / "there" / "text_encoder"
    assert sorted(path.name for path in made.iterdir()) == ["config.json", "model.safetensors"]
    written = load_file(made / "model.safetensors")
    assert written.keys() == state.keys()
    assert all(torch.equal(written[name], state[name]) for name in state)
    assert command("models", "verify", "there")[0] == 0
    file = model / "text_encoder" / "pytorch_model-00002-of-00002.bin"
    file.write_bytes(file.read_bytes()[:-100])
    one_line(*command("convert", *arguments[1:2], "again", *arguments[3:], "--allow-pickle"), "cut off")
    assert not (tmp_path / "again").exists()


def test_convert_and_other_pickles(tiny_model, command, tmp_path):
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (model / "motion_module").mkdir()
    torch.save({"a.attn_temporal.b": torch.ones(2, 3)}, model / "motion_module" / "mm.ckpt")
    torch.save({"state": {0: 1}}, model / "optimizer.bin")
    torch.save({}, model / "text_encoder" / "pytorch_model.bin")
    arguments = ("--layout", "easyanimate")
    code, _, err = command("convert", model, "without", *arguments)
    assert code == 0
    notes = err.splitlines()
    assert [line.split(" was not taken along")[0].rsplit("/", 1)[-1] for line in notes] == [
        "optimizer.bin",
        "mm.ckpt",
        "pytorch_model.bin",
    ]
    code, _, err = command("convert", model, "with", *arguments, "--allow-pickle")
    assert code == 0
    assert [line.split(" (")[0].rsplit("/", 1)[-1] for line in err.splitlines()] == [
        "optimizer.bin was not taken along",
        "pytorch_model.bin was not taken along: a pickle beside safetensors",
    ]
    assert load_file(tmp_path / "with/motion_module/mm.safetensors")["a.attn_temporal.b"].shape == (2, 3)
    for made in ("with", "without"):
        assert not [path for path in (tmp_path / made).rglob("*") if path.suffix in (".bin", ".ckpt")]


def test_inspect_and_verify(model, tiny_model, command):
    one_line(*command("models", "inspect", model), REFUSED)
    code, out, err = command("models", "inspect", model, "--allow-pickle")
    assert (code, err) == (0, "")
    assert out == command("models", "inspect", tiny_model)[1].replace(str(tiny_model), str(model))
    code, out, _ = command("models", "verify", model)
    assert code == 1
    assert REFUSED in out
    assert command("models", "verify", model, "--allow-pickle")[0] == 0


def test_a_pickle_with_code_is_refused_and_never_runs(model, command, tmp_path, malicious):
    file = model / "transformer" / "diffusion_pytorch_model.bin"
    torch.save({**torch.load(file), "bad": malicious(tmp_path / "was-here")}, file)
    refused = "diffusion_pytorch_model.bin: not a plain dictionary of tensors: it names code to be run"
    one_line(*command("models", "inspect", model, "--allow-pickle"), refused)
    one_line(*command("convert", model, "there", "--layout", "diffusers", "--allow-pickle"), refused)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_truncated_pickle_is_one_line(model, command, tmp_path):
    file = model / "vae" / "diffusion_pytorch_model.bin"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused = "diffusion_pytorch_model.bin: not a plain dictionary of tensors: it is damaged or cut off"
    one_line(*command("convert", model, "there", "--layout", "diffusers", "--allow-pickle"), refused)
    assert not (tmp_path / "there").exists()


def test_generate_and_replay(model, command, tmp_path):
    arguments = ("generate", "a fox", "--model", model, "--seed", "1", "--output", "out.gif")
    one_line(*command(*arguments, "--quiet"), f"error: model: {model}")
    assert not (tmp_path / "out.gif").exists()
    assert command(*arguments, "--allow-pickle")[0] == 0
    code, _, err = command("replay", "out.gif", "--quiet")
    assert (code, REFUSED in err) == (2, True)
    code, out, _ = command("replay", "out.gif", "--allow-pickle")
    assert (code, out.splitlines()[-1]) == (0, "identical frames")


def test_open_sora_as_it_was_released(command, tmp_path):
    from ea_dit.pipelines.tiny import OPEN_SORA_FILE, make_tiny

    folder = make_tiny("open-sora-1.0", tmp_path / "open-sora")
    file = folder / OPEN_SORA_FILE
    torch.save(load_file(file), file.with_suffix(".pth"))
    before = command("models", "inspect", folder)[1]
    file.unlink()
    generate = ("generate", "a fox", "--model", folder, "--size", "32", "--frames", "2", "--steps", "1")
    for part in folder.rglob("*.safetensors"):  # a safetensors file anywhere says that it is a model
        assert part.parent != folder
    code, out, err = command(*generate)
    assert (code, out) == (2, "")
    assert f"{file.with_suffix('.pth').name} is a pickle; allow_pickle (--allow-pickle) reads it" in err
    assert command("models", "inspect", folder, "--allow-pickle")[1] == before
    assert command(*generate, "--allow-pickle", "--output", "out.gif")[0] == 0
    assert (tmp_path / "out.gif").exists()


def test_a_folder_of_pickles_only_is_named(command, tmp_path):
    (tmp_path / "all").mkdir()
    torch.save({}, tmp_path / "all" / "model.pth")
    code, out, err = command("generate", "a fox", "--model", tmp_path / "all")
    one_line(
        code, out, err, "model.pth: is a pickle, and pickles can run code; allow_pickle (--allow-pickle)"
    )


@pytest.mark.parametrize(("flags", "skipped"), [((), True), (("--allow-pickle",), False)])
def test_fetch_takes_pickles_only_when_asked(flags, skipped, command, monkeypatch, tmp_path):
    import huggingface_hub

    asked = []

    def snapshot_download(name, *, ignore_patterns, **options):
        asked.extend(ignore_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert command("models", "fetch", "owner/name", *flags)[0] == 0
    assert all((f"*{ending}" in asked) == skipped for ending in (".bin", ".pt", ".pth", ".ckpt"))
    assert "*.onnx" in asked
