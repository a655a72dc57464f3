"""`--lora`: checked before weights are read, recorded, used again; `ea-app lora`: inspect, merge, convert."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ea_app import Engine, InputError
from ea_app.api.record import read_record
from ea_dit.lora import LoraUse, attach_loras, merge, targets_of
from ea_dit.pipelines.tiny import TINY, make_tiny
from ea_dit.registry import load_transformer

_path = Path(__file__).parents[1] / "dit" / "lora_files.py"
_spec = importlib.util.spec_from_file_location("lora_files", _path)
lora_files = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(lora_files)

GIVEN = ["--size", "32", "--frames", "5", "--steps", "1", "--seed", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, two LoRAs that fit it, and some that do not."""
    made = tmp_path_factory.mktemp("lora")
    make_tiny("v5.1-7b-t2v", made / "model")
    targets = targets_of(TINY["v5.1-7b-t2v"].config)
    factors = lora_files.factors_for(targets)
    lora_files.write_kohya(made / "a.safetensors", factors, alpha=1.5)
    lora_files.write_peft(made / "b.safetensors", dict(list(factors.items())[::2]))
    more = {"transformer_blocks.77.attn1.to_q": lora_files.random_factors((32, 32))}
    lora_files.write_kohya(made / "more.safetensors", {**factors, **more})
    wide = {"transformer_blocks.0.attn1.to_q": lora_files.random_factors((32, 48))}
    lora_files.write_kohya(made / "wide.safetensors", wide)
    lora_files.write_kohya(made / "other.safetensors", more)
    (made / "text.safetensors").write_text("text")
    return made


@pytest.fixture
def generate(command, folder):
    def run(output, *arguments):
        return command("generate", "x", *GIVEN, "--model", folder / "model", "--output", output, *arguments)

    return run


def _hash(output):
    return read_record(output)["frames"]["xxh3"]


def test_loras_are_used_recorded_and_used_again(generate, command, folder, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.safetensors").write_bytes((folder / f"{name}.safetensors").read_bytes())
    assert generate(tmp_path / "base.webp", "--quiet")[0] == 0
    assert generate(tmp_path / "off.webp", "--quiet", "--lora", "a.safetensors:0")[0] == 0
    given = ["--lora", "a.safetensors:0.8", "--lora", tmp_path / "b.safetensors"]
    code, _, err = generate(tmp_path / "both.webp", *given)
    assert code == 0
    count = len(targets_of(TINY["v5.1-7b-t2v"].config))
    assert f"lora: a.safetensors at 0.8: {count} of {count} layers matched\n" in err
    assert _hash(tmp_path / "base.webp") == _hash(tmp_path / "off.webp") != _hash(tmp_path / "both.webp")
    assert "loras" not in read_record(tmp_path / "base.webp")
    one, two = read_record(tmp_path / "both.webp")["loras"]
    assert (one["path"], one["weight"], two["path"], two["weight"]) == (
        "a.safetensors",
        0.8,
        "b.safetensors",
        1.0,
    )
    assert json.loads((tmp_path / "both.webp.json").read_text())["loras"][0]["path"] == str(
        tmp_path / "a.safetensors"
    )
    code, out, err = command("replay", tmp_path / "both.webp")
    assert (code, out.splitlines()[-1]) == (0, "identical frames"), err
    assert read_record(tmp_path / "both-replay.webp")["loras"] == [one, two]

    tensors = load_file(tmp_path / "b.safetensors")
    save_file({name: tensor * 2 for name, tensor in tensors.items()}, tmp_path / "b.safetensors")
    code, out, err = command("replay", tmp_path / "both.webp")
    assert (code, out) == (2, "")
    assert err.startswith(f"ea-app: error: lora: {tmp_path / 'b.safetensors'} has changed since")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/none.safetensors"], "lora: .*none.safetensors does not exist"),
        (["{}/none.safetensors:0.5"], "lora: .*none.safetensors does not exist"),
        (["{}/a.safetensors:"], "lora: must be FILE or FILE:WEIGHT"),
        (["{}/a.safetensors:1000"], "lora: the weight must be a number from -100 to 100"),
        ([""], "lora: must be a file name"),
        (["{}/text.safetensors"], "lora: .*text.safetensors: is not a safetensors file"),
        (["{}/more.safetensors"], "lora: .*this model has no layer 'transformer_blocks_77_attn1_to_q' \\("),
        (["{}/wide.safetensors"], "lora: .*changes 32 x 48 weights, the model's has 32 x 32"),
        (["{}/other.safetensors"], "lora: .*fits no layer of this model: 0 of 1"),
        (["{}/model"], "lora: .*no weights; expected"),
        (["{}/model/transformer"], "lora: .*is no LoRA: none of its .*--transformer-weights"),
    ],
)
def test_wrong_loras_are_refused_before_weights_are_read(
    arguments, message, generate, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("ea_dit.pipelines.components.load_vae", None)
    given = [part for argument in arguments for part in ("--lora", argument.format(folder))]
    code, out, err = generate(tmp_path / "a.webp", *given)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"ea-app: error: {message}.*\n", err), err
    assert not (tmp_path / "a.webp").exists()


def test_what_does_not_fit_can_be_skipped(generate, command, folder, tmp_path):
    given = ["--lora", folder / "more.safetensors", "--lora-unmatched", "skip"]
    code, _, err = generate(tmp_path / "a.webp", *given)
    assert code == 0
    assert re.search(r"lora: more\.safetensors at 1: \d+ of \d+ layers matched, 1 unmatched\n", err)
    assert read_record(tmp_path / "a.webp")["loras"][0]["unmatched"] == "skip"
    assert command("replay", tmp_path / "a.webp", "--quiet")[0] == 0
    code, _, err = generate(tmp_path / "b.webp", *given[:1], folder / "other.safetensors", *given[2:])
    assert (code, "fits no layer of this model" in err) == (2, True)


# One of every network and kind of input; the others behind `-m slow`.
QUICK = {
    "v1-t2v",
    "v3-inp",
    "v4-t2v",
    "v5-7b-inp",
    "v5.1-12b-camera",
    "open-sora-1.1",
}
RELEASES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in sorted(TINY)]


@pytest.mark.parametrize("family", RELEASES)
def test_every_release_takes_one(family, command, tmp_path):
    model = make_tiny(family, tmp_path / "model")
    path = lora_files.write_kohya(
        tmp_path / "a.safetensors", lora_files.factors_for(targets_of(TINY[family].config)), alpha=0.1
    )
    frames = "1" if family == "v1-image" else "5"
    given = ["--size", "32", "--frames", frames, "--steps", "1", "--seed", "3", "--quiet", "--model", model]
    outputs = [tmp_path / f"{name}.webp" for name in ("base", "over")]
    assert command("generate", "x", *given, "--output", outputs[0])[::2] == (0, "")
    assert command("generate", "x", *given, "--output", outputs[1], "--lora", path)[::2] == (0, "")
    assert _hash(outputs[0]) != _hash(outputs[1])


def test_eight_bits_and_half_precision(generate, folder, tmp_path):
    seen = {}
    for name, options in {
        "bf16": ["--dtype", "bf16"],
        "fp16": ["--dtype", "fp16"],
        "float8": ["--memory", "model_cpu_offload_and_qfloat8"],
        "sequential": ["--memory", "sequential_cpu_offload"],
    }.items():
        for strength in (None, "0", "0.5"):
            given = [] if strength is None else ["--lora", f"{folder / 'a.safetensors'}:{strength}"]
            output = tmp_path / f"{name}-{strength}.webp"
            assert generate(output, "--quiet", *options, *given)[::2] == (0, "")
            seen[name, strength] = _hash(output)
        assert seen[name, None] == seen[name, "0"] != seen[name, "0.5"], name
    assert len({seen[name, "0.5"] for name in ("bf16", "fp16", "float8", "sequential")}) == 4


def test_from_python(folder):
    with pytest.raises(InputError, match=r"^lora: .*this model has no layer"):
        Engine.load(str(folder / "model"), device="cpu", loras=[folder / "more.safetensors"])
    engine = Engine.load(str(folder / "model"), device="cpu", loras=[(folder / "a.safetensors", 0.5)])
    (overlay,) = engine.pipeline.components.loras
    job = engine.job("x", size=32, frames=5, steps=1, seed=3)
    over = engine.generate(job)
    assert over.record["loras"][0]["weight"] == 0.5
    overlay.strength = 0
    off = engine.generate(job)
    # The record has what was used, not what was loaded.
    assert off.record["loras"][0]["weight"] == 0
    assert engine.describe()["loras"][0]["weight"] == 0
    overlay.remove()
    without = engine.generate(job)
    assert without.frames_hash == off.frames_hash != over.frames_hash
    assert "loras" not in without.record
    with pytest.raises(InputError, match=r"^lora: .*fits no layer"):
        Engine.check(job, str(folder / "model"), loras=[folder / "other.safetensors"])


def test_inspecting(command, folder):
    code, out, err = command("lora", "inspect", folder / "a.safetensors", "--model", folder / "model")
    assert (code, err) == (0, "")
    assert "easyanimate names" in out
    assert "rank 3, alpha 1.5" in out
    assert re.search(r"\n  transformer_blocks_0 +\d+ +\S+ +\S+\n", out)
    assert re.search(r"\nmodel: (\d+) of \1 layers matched\n", out)
    code, out, _ = command(
        "lora", "inspect", folder / "more.safetensors", "--model", folder / "model" / "transformer"
    )
    assert code == 1
    assert "  unmatched: transformer_blocks_77_attn1_to_q\n" in out
    assert "model:" not in command("lora", "inspect", folder / "other.safetensors")[1]
    code, out, err = command("lora", "inspect", folder / "text.safetensors")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("ea-app: error: file: ")
    assert command("lora", "inspect", "none")[2] == "ea-app: error: file: none does not exist\n"
    code, _, err = command("lora", "inspect", folder / "a.safetensors", "--model", "nowhere")
    assert (code, err.startswith("ea-app: error: model: unknown model 'nowhere'")) == (2, True)
    assert command("lora")[2].startswith("ea-app: error: ")


def test_norms_are_those_of_the_changes(folder):
    from ea_dit.lora import inspect_lora, read_lora

    file = read_lora(folder / "a.safetensors")
    found = inspect_lora(file)
    square = sum(
        float((file.factors(layer).delta(torch.float64)).square().sum()) for layer in file.header.layers
    )
    assert found.norm == pytest.approx(square**0.5, rel=1e-6)
    assert sum(block.layers for block in found.blocks) == len(file.header.layers)
    assert found.blocks[-1].name == "outside of blocks"


def _weights(model):
    state = {}
    for file in sorted(model.rglob("*.safetensors")):
        state |= {
            f"{file.parent.relative_to(model)}/{name}": tensor for name, tensor in load_file(file).items()
        }
    return state


@pytest.mark.parametrize(
    "family",
    [
        "v1-t2v",
        pytest.param("v3-inp", marks=pytest.mark.slow),
        "v4-t2v",
        "v5-12b-t2v",
        pytest.param("open-sora-1.0", marks=pytest.mark.slow),
        "open-sora-1.1",
    ],
)
def test_merged_files_are_the_merged_overlay_bit_for_bit(family, command, tmp_path):
    model = make_tiny(family, tmp_path / "model")
    targets = targets_of(TINY[family].config)
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    lora_files.write_kohya(paths[0], lora_files.factors_for(targets), alpha=1.5)
    lora_files.write_kohya(paths[1], lora_files.factors_for(targets, "loha"), prefix="lycoris_")
    code, out, err = command("lora", "merge", model, f"{paths[0]}:0.5", paths[1], tmp_path / "merged")
    assert code == 0, err
    assert out.startswith(f"wrote {tmp_path / 'merged'}: ")
    names = {file.relative_to(model) for file in model.rglob("*") if file.is_file()}
    made_files = (file for file in (tmp_path / "merged").rglob("*") if file.is_file())
    assert {file.relative_to(tmp_path / "merged") for file in made_files} == names

    def network(folder):
        from ea_dit.pipelines.outline import read_outline

        outline = read_outline(folder)
        return load_transformer(outline.layout.transformer, motion_module=outline.motion_module)

    expected = network(model)
    attach_loras(expected, [LoraUse(path=paths[0], strength=0.5), LoraUse(path=paths[1])])
    merge(expected)
    made = dict(network(tmp_path / "merged").named_parameters())
    for name, tensor in expected.named_parameters():
        if ".adapters." not in name:
            assert torch.equal(made[re.sub(r"\.base\.", ".", name)], tensor), name
    before, after = _weights(model), _weights(tmp_path / "merged")
    changed = [name for name, tensor in before.items() if not torch.equal(after[name], tensor)]
    assert len(changed) == len([target for target in targets if "easyanimate" in target.names])


def test_merging_shards_and_other_layouts(command, folder, tmp_path):
    arguments = ["--layout", "diffusers", "--max-shard", "20KB", "--dtype", "bfloat16", "--quiet"]
    assert command("convert", folder / "model", tmp_path / "shards", *arguments)[0] == 0
    assert len(list((tmp_path / "shards" / "transformer").glob("*-of-*.safetensors"))) > 1
    assert (
        command(
            "lora", "merge", tmp_path / "shards", folder / "a.safetensors", tmp_path / "merged", "--quiet"
        )[0]
        == 0
    )
    made = load_transformer(tmp_path / "merged" / "transformer")
    base = load_transformer(tmp_path / "shards" / "transformer").state_dict()
    from ea_dit.lora import read_lora

    file, targets = read_lora(folder / "a.safetensors"), targets_of(made.config)
    for layer in file.header.layers:
        name = f"{targets.find(layer.name, flat=True).parts[0].layer}.weight"
        weight = base.pop(name)
        total = weight.float() + file.factors(layer).delta().reshape(weight.shape)
        assert torch.equal(made.state_dict()[name], total.bfloat16()), name
    assert all(torch.equal(made.state_dict()[name], tensor) for name, tensor in base.items())
    changed = sorted((tmp_path / "merged" / "transformer").glob("*.safetensors"))[0]
    with safe_open(changed, framework="pt") as shard:
        (entry,) = json.loads(shard.metadata()["ea_merged_loras"])
    assert (entry["name"], entry["weight"]) == ("a.safetensors", 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/model", "{}/a.safetensors", "{}/model"], "output: .*exists already"),
        (["{}/model", "{}/a.safetensors", "{}/model/inside"], "output: .* is inside "),
        (["{}/nowhere", "{}/a.safetensors", "out"], "model: unknown model"),
        (["{}/model", "{}/none", "out"], "lora: .*none does not exist"),
        (["{}/model", "{}/more.safetensors", "out"], "lora: .*this model has no layer"),
        (["{}/model", "{}/a.safetensors:x", "out"], "lora: .*a.safetensors:x does not exist"),
        (["{}/model", "out"], "out: is missing|.*required|.*is missing"),
    ],
)
def test_merging_what_does_not_go(arguments, message, command, folder, tmp_path):
    before = sorted(folder.rglob("*"))
    code, out, err = command("lora", "merge", *(argument.format(folder) for argument in arguments))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.match(f"ea-app: error: {message}", err), err
    assert sorted(folder.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_converting(command, folder, tmp_path):
    source = folder / "a.safetensors"
    code, out, err = command("lora", "convert", source, "p.safetensors", "--format", "peft")
    count = len(load_file(source)) // 3
    assert (code, out, err) == (0, f"wrote p.safetensors: {count} layers, peft names\n", "")
    assert "transformer.transformer_blocks.0.attn1.to_q.lora_A.weight" in load_file("p.safetensors")
    assert command("lora", "convert", "p.safetensors", "k.safetensors", "--format", "kohya")[0] == 0
    assert command("lora", "convert", "k.safetensors", "e.safetensors", "--format", "easyanimate")[0] == 0
    before, after = load_file(source), load_file("e.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert (
        command("lora", "convert", source, "folder", "--format", "peft", "--model", folder / "model")[0] == 0
    )
    assert {path.name for path in Path("folder").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    given = ["--format", "peft", "--layout", "diffusers"]
    assert command("lora", "convert", source, "d.safetensors", *given)[0] == 0
    assert "transformer.transformer_blocks.0.attn1.add_q_proj.lora_A.weight" in load_file("d.safetensors")

    for arguments, message in (
        ([source, "p.safetensors", "--format", "kohya"], "output: p.safetensors exists already"),
        ([source, "p.bin", "--format", "kohya"], r"output: p.bin: must end with \.safetensors"),
        ([folder / "text.safetensors", "x.safetensors", "--format", "kohya"], "file: .*not a safetensors"),
        ([folder / "other.safetensors", "x.safetensors", "--format", "peft"], "file: .*needs its model"),
        ([source, "x.safetensors", "--format", "no"], "format: "),
    ):
        code, out, err = command("lora", "convert", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert re.match(f"ea-app: error: {message}", err), err
