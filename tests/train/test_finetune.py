"""`ea-train finetune` from the outside: it trains, continues bit for bit, and says what does not fit."""

import json

import pytest
import torch
from safetensors.torch import load_file

from ea_dit import load_transformer
from ea_dit.lora import attach, read_lora
from ea_train import cli
from ea_train.recipes import find
from ea_train.recipes.finetune import fitted_recipe


def run(recipe, output, model, data, *more):
    places = ["--model", str(model), "--data", str(data), "--output", str(output)]
    return cli.main([recipe, "--preset", "tiny", "--device", "cpu", *places, *more])


def settings(*values):
    return [part for value in values for part in ("--set", value)]


def tensors(folder):
    return {path.name: load_file(path) for path in sorted(folder.glob("*.safetensors"))}


def same(one, other):
    return one.keys() == other.keys() and all(
        one[file].keys() == other[file].keys()
        and all(torch.equal(tensor, other[file][name]) for name, tensor in one[file].items())
        for file in one
    )


@pytest.mark.parametrize(
    ("family", "controls"),
    [
        ("v5.1-7b-inp", ()),
        ("v3-inp", ()),
        # test_precompute trains on files with these too.
        pytest.param("v5.1-7b-control", ("edges",), marks=pytest.mark.slow),
        pytest.param("v5.1-12b-camera", ("camera",), marks=pytest.mark.slow),
        pytest.param("v4-inp", (), marks=pytest.mark.slow),
        ("open-sora-1.1", ()),
    ],
)
def test_every_mode_trains_on_files(family, controls, tiny_model, clips, tmp_path, capsys):
    more = settings("loop.steps=2", "loop.validate_every=1")
    assert run("finetune", tmp_path / "run", tiny_model(family), clips(*controls), *more) == 0
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "val/loss" in line] == [1, 2]
    assert "val/loss" in capsys.readouterr().out
    load_transformer(tmp_path / "run/export")


def test_an_exported_lora_changes_the_model(tiny_model, clips, tmp_path):
    model = tiny_model("v5.1-7b-inp")
    assert run("finetune-lora", tmp_path / "run", model, clips()) == 0
    network = load_transformer(model / "transformer")
    overlay = attach(network, read_lora(tmp_path / "run/export/lora.safetensors"))
    assert overlay.report.left_over == 0
    # A run starts from another's export of the whole network.
    assert run("finetune", tmp_path / "one", model, clips()) == 0
    more = settings(f"model.transformer={tmp_path / 'one/export'}", "loop.steps=1")
    assert run("finetune", tmp_path / "two", model, clips(), *more) == 0


def test_stages_from_pictures_to_a_video_model(tiny_model, clips, tmp_path):
    """Pictures, then motion modules on the frozen image model, then everything."""
    model, data, short = tiny_model("v1-image"), clips(), "loop.steps=2"
    assert run("finetune", tmp_path / "pictures", model, data, *settings(short)) == 0
    image = tmp_path / "pictures/export"
    more = settings(
        short,
        f"model.transformer={image}",
        "model.motion=v1-t2v",
        "adapter.kind=parts",
        "adapter.names=[attn_temporal]",
    )
    assert run("finetune", tmp_path / "motion", model, data, *more) == 0
    before, after = (load_transformer(folder).state_dict() for folder in (image, tmp_path / "motion/export"))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert any(".motion." in name and bool(after[name].any()) for name in after if "project_out" in name)
    more = settings(short, f"model.transformer={tmp_path / 'motion/export'}")
    assert run("finetune", tmp_path / "all", model, data, *more) == 0
    whole = load_transformer(tmp_path / "all/export")
    assert whole.config == load_transformer(tmp_path / "motion/export").config
    changed = [name for name, tensor in whole.state_dict().items() if not torch.equal(tensor, after[name])]
    assert any(".motion." not in name for name in changed)


def test_a_text_model_becomes_a_control_model(tiny_model, clips, tmp_path):
    more = settings("model.in_channels=48", "loop.steps=2")
    assert run("finetune", tmp_path / "run", tiny_model("v5.1-7b-t2v"), clips("edges"), *more) == 0
    exported = load_transformer(tmp_path / "run/export")
    assert exported.config.in_channels == 48
    assert bool(exported.patch_embed.weight[:, 16:].any())


def test_a_file_of_settings_lies_over_the_preset(tiny_model, clips, tmp_path, capsys):
    file = tmp_path / "recipe.yaml"
    file.write_text("loop: {steps: 3}\nobjective: {levels: {density: logit_normal}}\n")
    model, data = tiny_model("v5.1-7b-inp"), clips()
    assert run("finetune", tmp_path / "run", model, data, "--config", str(file), "--dry-run") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["loop"]["steps"] == 3
    assert shown["loop"]["batch_size"] == 2
    assert shown["objective"]["levels"]["density"] == "logit_normal"
    assert (shown["model"]["path"], shown["data"]["manifest"]) == (str(model), str(data))
    assert not (tmp_path / "run").exists()
    file.write_text("loop: {stepz: 3}\n")
    assert run("finetune", tmp_path / "run", model, data, "--config", str(file)) == 2
    assert "loop: unknown key 'stepz'" in capsys.readouterr().err


@pytest.fixture
def mistake(tiny_model, clips, tmp_path, capsys):
    """Run a finetune, expect status 2 before any training, and return its one line."""

    def run_wrong(family, *values, data=None):
        data = clips() if data is None else data
        capsys.readouterr()
        assert run("finetune", tmp_path / "run", tiny_model(family), data, *settings(*values)) == 2
        assert not (tmp_path / "run" / "checkpoints").exists()
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    return run_wrong


@pytest.mark.parametrize(
    ("family", "value", "message"),
    [
        ("v5.1-7b-inp", "objective.loss=ddpm", "objective.loss 'ddpm' does not fit the model"),
        ("v5.1-7b-inp", "conditions.mode=control", "conditions.mode must be auto or inpaint"),
        ("v5.1-7b-inp", "data.recipe.control=video", "data.recipe.control is 'video'"),
        ("v5.1-7b-t2v", "data.recipe.masks.draw=inpaint", "data.recipe.masks.draw is 'inpaint'"),
        ("v5.1-7b-inp", "data.recipe.batch_size=3", "data.recipe.batch_size is 3; set loop.batch_size"),
        ("open-sora-1.1", "objective.loss=flow", "objective.loss 'flow' does not fit the model"),
        ("v5.1-7b-inp", "adapter.kind=parts", "adapter.names is empty"),
        ("v5.1-7b-inp", "model.in_channels=35", "in_channels must be one of"),
        ("open-sora-1.1", "model.in_channels=9", "in_channels cannot change"),
        ("v5.1-7b-inp", "model.motion=v2-t2v", "motion modules are added to an image model"),
        ("v1-image", "model.motion=v9", "motion modules must be those of v1-t2v"),
        ("v5.1-7b-inp", "model.transformer=nowhere", "model.transformer: nowhere does not exist"),
        ("v5.1-7b-inp", "model.vae=nowhere", "model.vae: nowhere is no folder with a config.json"),
        ("v5.1-7b-inp", "validation.positions=[1.0]", "validation.positions must be from 0 to below 1"),
    ],
)
def test_what_does_not_fit_is_said_before_training(family, value, message, mistake):
    assert message in mistake(family, value)


def test_factors_are_not_spread_over_processes(mistake):
    line = mistake("v5.1-7b-inp", "adapter.kind=lora", "loop.sharding=fsdp2")
    assert "loop.sharding is 'fsdp2'; adapter.kind 'lora' needs 'none'" in line


def test_manifests_that_cannot_be_used(mistake, clips, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "empty.jsonl" in mistake("v5.1-7b-inp", data=empty)
    assert "nowhere.jsonl" in mistake("v5.1-7b-inp", data=tmp_path / "nowhere.jsonl")
    # Rows without control files, for a model that is trained with them.
    assert "no row can be trained on" in (line := mistake("v5.1-7b-control"))
    assert "has no control_file_path" in line
    line = mistake("v5.1-7b-inp", "loop.batch_size=50", "data.recipe.remainder=drop")
    assert "epoch 0 has no batch; allowed: smaller batches" in line
    assert str(clips()) in line


def test_files_that_are_left_out_are_named(tiny_model, clips, tmp_path, capsys):
    rows = [json.loads(line) for line in clips().read_text().splitlines()]
    for row in rows:
        row["file_path"] = str(clips().parent / row["file_path"])
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    # Without length and size in its row the file is opened before the first step.
    rows[3] = {"file_path": str(tmp_path / "broken.mp4"), "text": rows[3]["text"], "type": "video"}
    manifest = tmp_path / "all.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = settings("loop.steps=1")
    assert run("finetune", tmp_path / "run", tiny_model("v5.1-7b-t2v"), manifest, *more) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
    assert len(told) == 1
    assert "broken.mp4" in told[0]


def test_a_folder_that_is_no_model(mistake, tmp_path, clips, capsys):
    (tmp_path / "empty").mkdir()
    assert run("finetune", tmp_path / "run", tmp_path / "empty", clips()) == 2
    assert "is no model directory" in capsys.readouterr().err
    assert cli.main(["finetune", "--preset", "tiny", "--output", str(tmp_path / "run")]) == 2
    assert "model.path is empty; give a model directory (--model DIR)" in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["tiny", "cpu", "gpu"])
@pytest.mark.parametrize("recipe", ["finetune", "finetune-lora"])
def test_presets_are_whole(recipe, preset):
    config = find(recipe).config(preset)
    assert (config.adapter.kind == "lora") == (recipe == "finetune-lora")
    assert config.data.recipe.shapes is not None


def test_the_recipe_is_fitted_to_the_mode():
    from ea_dit.families.hunyuan3d.presets import PRESETS
    from ea_dit.pipelines.variants import traits_of

    config = find("finetune").config("tiny")
    traits = traits_of(PRESETS["v4-inp"])
    fitted = fitted_recipe(config.data.recipe, traits, "inpaint", config.loop)
    assert fitted.masks.draw == "inpaint"
    assert (fitted.reference.mode, fitted.reference.first) == ("random", 0.5)
    assert (fitted.batch_size, fitted.seed) == (2, config.loop.seed)
