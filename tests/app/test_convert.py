"""`ea-app convert`: nothing is lost on the way there and back, and every mistake is one line."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ea_app.cli.convert import parse_size
from ea_app.options import InputError
from ea_kernels.runtime.files import weight_files

ENCODER = {"architectures": ["Qwen2VLForConditionalGeneration"], "model_type": "qwen2_vl"}


@pytest.fixture
def model(tiny_model, tmp_path):
    """A copy of the tiny model that a test may change."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.fixture
def convert(command):
    def run(source, destination, layout="diffusers", *options):
        return command("convert", source, destination, "--layout", layout, *options)

    return run


def tensors(folder):
    return {name: value for file in weight_files(folder) for name, value in load_file(file).items()}


def same(left, right):
    def bits(value):
        return value.dtype, value.shape, value.reshape(-1).view(torch.uint8).numpy().tobytes()

    return {name: bits(value) for name, value in left.items()} == {
        name: bits(value) for name, value in right.items()
    }


def edit_json(file, **changes):
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({name: value for name, value in values.items() if value != "gone"}))


def edit_weights(folder, change):
    file = folder / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    change(state)
    save_file(state, file)


def nothing_left(folder):
    return [path.name for path in folder.iterdir() if path.name not in ("model", "source")]


def test_there_and_back_loses_nothing(model, convert, tmp_path):
    edit_json(model / "transformer/config.json", _diffusers_version="0.31.0", mmdit_layers=10000)
    (model / ".cache").mkdir()
    (model / ".cache/lock").write_text("")
    code, out, err = convert(model, "there", "diffusers", "--max-shard", "100KB")
    assert (code, err.count("\n")) == (0, 1)
    assert re.match(r"wrote there: diffusers layout, \d+ tensors, .* GB in .* s\n", out)
    assert "note: no model_index.json" in err
    there = tmp_path / "there"
    assert len(list((there / "transformer").glob("*-of-*.safetensors"))) > 1
    assert "transformer_blocks.0.attn1.add_q_proj.weight" in tensors(there / "transformer")
    assert json.loads((there / "transformer/config.json").read_text())["mmdit_layers"] == 2
    code, _, err = convert("there", "back", "easyanimate")
    assert (code, err) == (0, "")
    for part in ("transformer", "vae"):
        assert same(tensors(tmp_path / "back" / part), tensors(model / part))
        config = json.loads((model / part / "config.json").read_text()) | {"mmdit_layers": 0}
        assert (
            config.items()
            <= (
                json.loads((tmp_path / "back" / part / "config.json").read_text()) | {"mmdit_layers": 0}
            ).items()
        )
    others = {path.relative_to(model) for path in model.rglob("*") if path.is_file()} - {Path(".cache/lock")}
    back = tmp_path / "back"
    assert {path.relative_to(back) for path in back.rglob("*") if path.is_file()} == others
    for path in others:
        if path.parts[0] not in ("transformer", "vae"):
            assert (back / path).read_bytes() == (model / path).read_bytes()


def test_what_was_converted_loads_as_the_same_network(model, convert):
    from ea_dit import load_transformer
    from ea_vae import load_vae

    assert convert(model, "there", "diffusers", "--max-shard", "200KB")[0] == 0
    assert same(
        load_transformer("there/transformer").state_dict(),
        load_transformer(model / "transformer").state_dict(),
    )
    assert load_transformer("there/transformer").config == load_transformer(model / "transformer").config
    assert load_vae("there/vae").config == load_vae(model / "vae").config


def test_one_network_and_another_number_type(model, convert, tmp_path):
    assert convert(model / "transformer", "one", "diffusers", "--dtype", "bfloat16")[0] == 0
    before = tensors(model / "transformer")
    after = tensors(tmp_path / "one")
    assert len(after) == len(before)
    assert same({"x": after["proj.weight"]}, {"x": before["proj.weight"].to(torch.bfloat16)})
    assert convert(model / "vae", "vae", "easyanimate")[0] == 0
    assert same(tensors(tmp_path / "vae"), tensors(model / "vae"))


def test_diffusers_gets_an_index_of_the_pipeline(model, convert, tmp_path):
    (model / "text_encoder/config.json").write_text(json.dumps(ENCODER))
    (model / "tokenizer").mkdir()
    (model / "tokenizer/tokenizer_config.json").write_text('{"tokenizer_class": "Qwen2Tokenizer"}')
    code, _, err = convert(model, "there")
    assert (code, err) == (0, "")
    index = json.loads((tmp_path / "there/model_index.json").read_text())
    assert index["_class_name"] == "EasyAnimateInpaintPipeline"
    assert index["tokenizer"] == ["transformers", "Qwen2Tokenizer"]
    assert index["scheduler"] == ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    assert convert("there", "back", "easyanimate")[0] == 0
    assert not (tmp_path / "back/model_index.json").exists()
    edit_json(model / "scheduler/scheduler_config.json", extra=1)
    (model / "model_index.json").write_text('{"_class_name": "EasyAnimateV5_1Pipeline"}')
    assert convert(model, "same", "easyanimate")[0] == 0
    assert (tmp_path / "same/model_index.json").exists()


def test_what_diffusers_computes_otherwise_is_said(model, convert):
    def share_text_weights(state):
        for name in list(state):
            if name.startswith("transformer_blocks.1.") and (".attn2." in name or ".txt_ff." in name):
                del state[name]

    edit_json(model / "transformer/config.json", mmdit_layers=1)
    edit_weights(model / "transformer", share_text_weights)
    (model / "transformer/other.safetensors").write_bytes(b"")
    code, _, err = convert(model / "transformer", "there")
    assert code == 0
    assert "note: diffusers 0.42 leaves out a projection" in err
    assert "other.safetensors was not taken along" in err


def damage(model, what):
    transformer, weights = model / "transformer", "diffusion_pytorch_model.safetensors"
    if what == "class":
        edit_json(transformer / "config.json", _class_name="OtherModel")
    elif what == "missing":
        edit_weights(transformer, lambda state: state.pop("proj.bias"))
    elif what == "extra":
        edit_weights(transformer, lambda state: state.update(new=torch.ones(1)))
    elif what == "misshapen":
        edit_weights(transformer, lambda state: state.update({"proj.bias": torch.ones(3)}))
    elif what == "truncated":
        (transformer / weights).write_bytes((transformer / weights).read_bytes()[:-7])
    elif what == "shard":
        (transformer / weights).unlink()
        index = {"weight_map": {"proj.bias": "a.safetensors"}}
        (transformer / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    elif what == "pickle":
        (transformer / weights).rename(transformer / "diffusion_pytorch_model.bin")
    elif what == "config":
        edit_json(transformer / "config.json", num_layers="gone")
    elif what == "reference":
        edit_json(transformer / "config.json", ref_channels=16)
    elif what == "vae":
        edit_json(model / "vae/config.json", cache_mag_vae=False, slice_mag_vae=True)


MISTAKES = [
    ("class", "source: .*unknown transformer class 'OtherModel'"),
    ("missing", r"source: .*transformer: missing tensor 'proj\.bias'"),
    ("extra", "source: .*transformer: unexpected tensor 'new'"),
    ("misshapen", r"source: .*tensor 'proj\.bias' has shape \[3\], expected"),
    ("truncated", r"source: .*safetensors: is cut off: it has \d+ bytes, its header promises \d+"),
    ("shard", r"source: .*shard 'a\.safetensors' is missing"),
    ("pickle", "source: .*is a pickle"),
    ("config", "source: .*num_layers is missing"),
    ("reference", "source: .*diffusers has no place for ref_channels"),
    ("vae", "source: .*diffusers has no autoencoder but that of V5"),
]


@pytest.mark.parametrize(("what", "message"), MISTAKES)
def test_a_wrong_source_is_one_line_and_leaves_nothing(what, message, model, convert, tmp_path):
    damage(model, what)
    code, out, err = convert(model, "there")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(f"ea-app: error: {message}", err)
    assert nothing_left(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none", "there", "--layout", "diffusers"], "source: none is no directory"),
        (["model/model.json", "there", "--layout", "diffusers"], "source: .* is no directory"),
        (["model", "model/vae", "--layout", "diffusers"], "destination: .* exists already"),
        (["model", "model/new", "--layout", "diffusers"], "destination: model/new is inside model"),
        (["model", "/proc/there", "--layout", "diffusers"], "destination: /proc/there"),
        (["model/scheduler", "there", "--layout", "diffusers"], "source: .*has neither transformer/config"),
        (["model/text_encoder", "there", "--layout", "diffusers"], "source: .*unknown transformer class"),
        (["model", "there"], "--layout: is missing"),
        (["model", "there", "--layout", "comfy"], "layout: invalid choice: 'comfy'"),
        (["model", "there", "--layout", "diffusers", "--dtype", "int8"], "dtype: invalid choice"),
        (["model", "there", "--layout", "diffusers", "--max-shard", "0GB"], "max-shard: must be a size"),
        (["model", "there", "--layout", "diffusers", "--fast"], "--fast: unknown option"),
    ],
)
def test_wrong_arguments(arguments, message, model, command, tmp_path):
    code, out, err = command("convert", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(f"ea-app: error: {message}", err)
    assert nothing_left(tmp_path) == []


def test_a_full_disk_is_one_line(model, convert, tmp_path, monkeypatch):
    from ea_app.api import conversion

    usage = namedtuple("usage", "free")
    with monkeypatch.context() as patch:
        patch.setattr(conversion.shutil, "disk_usage", lambda _: usage(1000))
        code, _, err = convert(model, "there")
    assert code == 2
    assert re.match(r"ea-app: error: destination: there needs 0\.00 GB, its disk has 0\.00 GB left\n", err)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(conversion.shutil, "copyfile", full)
    code, _, err = convert(model, "there")
    assert (code, err) == (
        2,
        "ea-app: error: destination: there: no space left on its disk, nothing was kept\n",
    )
    assert nothing_left(tmp_path) == []


def test_an_interruption_leaves_nothing(model, convert, tmp_path, monkeypatch):
    from ea_app.api import conversion

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "write_rewritten", interrupt)
    assert convert(model, "there")[0] == 130
    assert nothing_left(tmp_path) == []


def test_other_generations_have_one_layout(convert, tmp_path):
    from ea_dit import save_transformer
    from ea_dit.families.pixart_motion import PixArtMotion, PixArtMotionConfig

    config = PixArtMotionConfig(
        num_layers=1, num_attention_heads=2, attention_head_dim=16, caption_channels=8
    )
    save_transformer(PixArtMotion(config), tmp_path / "source")
    code, _, err = convert("source", "there")
    assert code == 2
    assert re.search(r"source: a \w+ has no diffusers layout, only easyanimate\n", err)
    code, _, err = convert("source", "there", "easyanimate", "--max-shard", "10KB")
    assert (code, err) == (0, "")
    assert same(tensors(tmp_path / "there"), tensors(tmp_path / "source"))


@pytest.mark.parametrize(
    ("text", "size"), [("5GB", 5 * 10**9), ("1.5 kb", 1500), ("2GiB", 2**31), ("10mb", 10**7)]
)
def test_sizes_have_units(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "5", "0GB", "-1GB", "GB", "1e3MB", "5TB"])
def test_other_sizes_are_refused(text):
    with pytest.raises(InputError, match="max-shard: must be a size such as 5GB or 500MB"):
        parse_size(text)
