"""The control models that grow out of the bundled one: data, cache, what learns, what they export."""

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from ea_data.synthetic.camera_scenes import CameraScene
from ea_train import cli, control_cache
from ea_train.bundle import bundle_model
from ea_train.control_cache import ControlCache, ControlCacheConfig, build_control_cache
from ea_train.control_scenes import ControlScenes
from ea_train.recipes import default_camera, default_control
from ea_train.tasks.base import Place
from ea_vae import load_vae

SIZE = {"num_frames": 5, "height": 16, "width": 16}


@pytest.fixture
def make(control_model, tmp_path):
    """Build the task of a recipe at its tiny preset."""

    def build(recipe=default_control, **changes):
        settings = recipe.config("tiny")
        settings = dataclasses.replace(settings, task=dataclasses.replace(settings.task, **changes))
        return recipe.build(
            settings, model=control_model, cache_directory=tmp_path / "latents", device=torch.device("cpu")
        )

    return build


def test_signals_are_those_of_the_clip():
    drawn = ControlScenes(0, kind="control").drawn(1, num_frames=5, height=64, width=64)
    edges, spots = drawn.signals
    assert edges.shape == spots.shape == drawn.video_CTHW.shape == (3, 5, 64, 64)
    assert set(edges.unique().tolist()) == {-1.0, 1.0}
    assert 0 < float((spots > 0).float().mean()) < 0.05
    (rays,) = ControlScenes(0, kind="camera").drawn(1, **SIZE).signals
    assert rays.shape == (6, 5, 16, 16)
    assert not torch.equal(rays[:, 0], rays[:, -1])


def test_one_camera_in_eight_stands_and_half_of_the_captions_are_quiet_about_it():
    scenes = ControlScenes(0, kind="camera")
    moving = [isinstance(scenes.scene(index), CameraScene) for index in range(16)]
    assert moving == [False, *[True] * 7] * 2
    assert "camera" in scenes.caption(1, variant=0, language="en")
    assert "camera" not in scenes.caption(1, variant=3, language="en")
    (rays,) = scenes.drawn(8, **SIZE).signals
    torch.testing.assert_close(rays[:, 0], rays[:, -1])


def test_a_cache_is_continued_and_refuses_other_clips(control_model, tmp_path, monkeypatch):
    monkeypatch.setattr(control_cache, "SHARD_CLIPS", 4)
    vae = load_vae(control_model / "vae", dtype=torch.float32)
    scenes, small = ControlScenes(0, kind="control"), ControlCacheConfig(clips=6, batch_size=4, **SIZE)
    build_control_cache(vae, scenes, tmp_path / "c", small)
    names = sorted(path.name for path in (tmp_path / "c").glob("*.safetensors"))
    assert names == ["shard-00000-4.safetensors", "shard-00001-2.safetensors"]
    first = (tmp_path / "c" / names[0]).stat().st_mtime_ns
    before = ControlCache(tmp_path / "c", small)
    large = dataclasses.replace(small, clips=8)
    build_control_cache(vae, scenes, tmp_path / "c", large)
    after = ControlCache(tmp_path / "c", large)
    assert (tmp_path / "c" / names[0]).stat().st_mtime_ns == first
    assert (len(before), len(after)) == (6, 8)
    torch.testing.assert_close(after.signals[:6].float(), before.signals.float(), atol=0.01, rtol=0.01)
    with pytest.raises(ValueError, match=r"was made with another source \(procedural control seed=0"):
        build_control_cache(vae, ControlScenes(1, kind="control"), tmp_path / "c", large)
    (tmp_path / "c" / names[0]).write_bytes(b"no")
    with pytest.raises(ValueError, match=r"shard-00000-4\.safetensors cannot be read"):
        ControlCache(tmp_path / "c", large)


def test_a_batch_is_a_function_of_seed_and_place_and_drops_what_it_should(make):
    task = make(condition_dropout=0.5, reference_dropout=0.5, picture_share=0.5)
    batches = [task.batch(0, Place.alone(step), 4) for step in range(30)]
    again = task.batch(0, Place.alone(7), 4)
    assert all(torch.equal(batches[7][name], again[name]) for name in again)
    assert {tuple(batch["latents"].shape[:3]) for batch in batches} == {(4, 16, 2), (8, 16, 1)}
    for name in ("signal", "reference"):
        used = torch.cat([b[name].flatten(1).any(dim=1) for b in batches if b[name].shape[2] > 1])
        assert 0.2 < float(used.float().mean()) < 0.8
    clips = [batch for batch in batches if batch["latents"].shape[2] > 1]
    given = torch.cat([batch["reference"].flatten(1).any(dim=1) for batch in clips])
    first = torch.cat([batch["reference"][:, :, 0] == batch["latents"][:, :, 0] for batch in clips])
    assert bool(first[given].all())
    assert not torch.cat([batch["reference"][:, :, 1:] for batch in clips]).any()


@pytest.mark.parametrize(("recipe", "channels"), [(default_control, 48), (default_camera, 38)])
def test_a_control_model_begins_as_its_model_and_learns_parts(recipe, channels, make, tmp_path):
    task = make(recipe, condition_dropout=0.0)
    before = {name: value.clone() for name, value in task.transformer.state_dict().items()}
    figures = task.validate()
    name = task.source.names[0]
    assert figures[f"val/{name}_over_shuffled"] == figures[f"val/{name}_over_none"] == 0
    parameters = [p for group, _ in task.parameter_groups()["generator"] for p in group]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3)
    for step in range(30):
        output = task.step(
            task.batch(0, Place.alone(step), 4), torch.Generator().manual_seed(step), Place.alone(step)
        )
        output.losses["generator"].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert task.validate()["val/loss"] < figures["val/loss"]
    after = task.transformer.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert "patch_embed.weight" in moved
    assert not any("modulation" in name or "text_embed" in name for name in moved)
    assert any("video_mlp" in name for name in moved)
    task.export(tmp_path / "export", {"steps": "30"})
    weights = load_file(tmp_path / "export" / "diffusion_pytorch_model.safetensors")
    assert weights["proj.weight"].shape[1] == channels
    assert bool(weights["proj.weight"][:, 16:].any())


def test_a_signal_that_says_everything_is_followed(make):
    task = make(condition_dropout=0.0, picture_share=0.0, latent_weights=(1.0,) * 16)
    # The signal is the answer itself, so that a few steps show whether it arrives.
    task.source.cache.signals[:] = task.source.cache.latents[:, None]
    parameters = [p for group, _ in task.parameter_groups()["generator"] for p in group]
    optimizer = torch.optim.AdamW(parameters, lr=5e-3)
    for step in range(60):
        output = task.step(
            task.batch(0, Place.alone(step), 8), torch.Generator().manual_seed(step), Place.alone(step)
        )
        output.losses["generator"].backward()
        optimizer.step()
        optimizer.zero_grad()
    figures = task.validate()
    assert figures["val/canny_over_none"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_clips": 8}, "task.validation_clips is 8, but the cache holds only 8 clips"),
        ({"signal_weights": (1.0,)}, r"task.signal_weights must be 2 numbers \(canny, trajectory\), got 1"),
        ({"latent_weights": (1.0,)}, "task.latent_weights must be 16 numbers, got 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, message, make):
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"condition_dropout": 1.5}, "task.condition_dropout must be"),
        ({"wordings": 0}, "task.wordings must be at least 1, got 0"),
        ({"signal_weights": (0.0, 0.0)}, "task.signal_weights must be numbers from 0, not all of them 0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(default_control.config("tiny").task, **changes)


def test_a_cache_of_impossible_clips_is_refused():
    with pytest.raises(ValueError, match="cache: num_frames must be 4n"):
        ControlCacheConfig(num_frames=6)
    with pytest.raises(ValueError, match="cache: height and width must be multiples of 16, got 20, 64"):
        ControlCacheConfig(height=20)
    with pytest.raises(ValueError, match="cache: clips and batch_size must be at least 1"):
        ControlCacheConfig(clips=0)


@pytest.fixture
def derived(control_model, tmp_path):
    """A tiny bundled model with a control model beside it, of a run of two steps."""
    base = shutil.copytree(control_model, tmp_path / "box" / "tiny")
    shutil.copytree(bundle_parts(control_model, tmp_path), base, dirs_exist_ok=True)
    common = ["--preset=tiny", "--device=cpu", f"--model={base}", f"--cache={tmp_path / 'latents'}"]
    run = tmp_path / "run"
    options = ["--set=loop.steps=2", "--set=loop.validate_every=1", "--set=optim.warmup_steps=0"]
    assert cli.main(["default-control", *common, *options, f"--output={run}"]) == 0
    output = tmp_path / "box" / "tiny-control"
    assert cli.main(["bundle", f"--run={run}", f"--model={base}", f"--output={output}"]) == 0
    return output


def bundle_parts(control_model, tmp_path):
    """The same model as `bundle_model` writes it."""
    info = {"name": "tiny", "native_width": 16, "native_height": 16, "native_frames": 5, "steps": 2}
    bundle_model(
        vae=control_model / "vae",
        text=control_model / "text_encoder",
        transformer=control_model / "transformer",
        output=tmp_path / "whole",
        info=info,
        training={},
    )
    return tmp_path / "whole"


def test_a_run_becomes_a_model_that_shares_what_it_can(derived):
    assert sorted(path.name for path in derived.iterdir()) == [
        "model.json",
        "model_card.md",
        "training.json",
        "transformer",
    ]
    changed = load_file(derived / "transformer" / "changes.safetensors")
    whole = load_file(derived.parent / "tiny" / "transformer" / "diffusion_pytorch_model.safetensors")
    assert "proj.weight" in changed
    assert not any("norm1.linear" in name for name in changed)
    assert changed.keys() < whole.keys()
    card = json.loads((derived / "model.json").read_text())
    assert (card["base"], card["name"], card["native_width"]) == ("tiny", "tiny-control", 16)
    text = (derived / "model_card.md").read_text()
    assert text.startswith("# tiny-control\n")
    assert "<!-- figures -->\n<!-- end of figures -->" in text
    training = json.loads((derived / "training.json").read_text())
    assert (training["recipe"], training["steps"], training["clips"]) == ("default-control", 2, 8)
    assert "val/canny_over_shuffled" in training


def test_what_cannot_be_bundled(derived, tmp_path, capsys):
    base, run = derived.parent / "tiny", tmp_path / "run"
    for arguments, message in (
        ((tmp_path, base, derived), "has no export: the run is not finished"),
        ((run, base, tmp_path / "elsewhere"), "--output must be a new folder beside"),
        ((run, base, base), "--output must be a new folder beside"),
    ):
        names = zip(("--run", "--model", "--output"), arguments, strict=True)
        assert cli.main(["bundle", *(f"{name}={value}" for name, value in names)]) == 2
        assert message in capsys.readouterr().err
    assert (base / "model.json").is_file()
