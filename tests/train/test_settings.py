"""Settings: what is refused, how it is said, and the optimisers that follow from them."""

import dataclasses
import json
import sys

import pytest
import torch
from torch import nn

from ea_train import schema
from ea_train.config import LoopConfig, OptimConfig, RunConfig
from ea_train.loop.clipping import clip_limit
from ea_train.loop.ema import ExponentialAverage
from ea_train.loop.optim import build_optimizers, set_learning_rates
from ea_train.loop.schedules import lr_factor
from ea_train.recipes import (
    default,
    default_dit,
    default_dit_pictures,
    default_pictures,
    default_text,
    default_vae,
    find,
)

RECIPES = [default, default_pictures, default_vae, default_text, default_dit_pictures, default_dit]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.__name__.rpartition(".")[2])
@pytest.mark.parametrize("preset", ["tiny", "cpu", "gpu"])
def test_every_preset_survives_json(recipe, preset):
    config = recipe.config(preset)
    plain = json.loads(json.dumps(schema.to_mapping(config)))
    assert schema.from_mapping(type(config), plain) == config


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("loop.stepz=3", "config.loop: unknown key 'stepz'; allowed are allow_tf32, batch_size"),
        ("loops.steps=3", "override 'loops.steps': 'loops' is not a group of settings"),
        ("loop.steps.x=3", "override 'loop.steps.x': 'loop.steps' is not a group of settings"),
        ("loop.steps", "override 'loop.steps': write it as name=value"),
        ("loop.steps=many", "config.loop.steps: expected int, got 'many'"),
        ("loop.steps=2.5", "config.loop.steps: expected int, got 2.5"),
        ("loop.steps=true", "config.loop.steps: expected int, got True"),
        ("loop.steps=[1", "override 'loop.steps': '[1' is not a YAML value"),
        ("loop.steps=0", "loop.steps must be at least 1, got 0"),
        ("loop.seed=-1", "loop.seed must be at least 0, got -1"),
        ("loop.ema_decay=1", "loop.ema_decay must be in [0, 1), got 1.0"),
        ("loop=3", "config.loop: expected a group of settings, got 3"),
        ("optim.lr=fast", "config.optim.lr: expected a finite number, got 'fast'"),
        ("optim.lr=.nan", "config.optim.lr: expected a finite number, got nan"),
        ("optim.betas=[0.9]", "optim.betas must be two numbers in [0, 1), got (0.9,)"),
        ("optim.betas=0.9", "config.optim.betas: expected a list, got 0.9"),
        ("optim.decay=never", "config.optim.decay: 'never' is not one of 'constant', 'cosine', 'linear'"),
        ("task.shapes=[[4, 16, 16, 1]]", "task.shapes: 4 frames of 16x16 pixels do not fit"),
        ("task.shapes=[[5, 16, 16]]", "task.shapes must list (frames, height, width, weight)"),
    ],
)
def test_a_wrong_override_is_one_clear_line(assignment, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole message is compared
        schema.override(default_vae.config("tiny"), [assignment])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_overrides_reach_their_settings():
    config = schema.override(
        default_dit.config("cpu"),
        ["loop.steps=7", "optim.lr=1e-4", "task.sigmas.mean=0", "caches=[{clips: 9, height: 32}]"],
    )
    assert (config.loop.steps, config.optim.lr, config.task.sigmas.mean) == (7, 1e-4, 0.0)
    assert [(cache.clips, cache.height, cache.width) for cache in config.caches] == [(9, 32, 64)]
    assert config.loop.batch_size == default_dit.config("cpu").loop.batch_size


@pytest.mark.parametrize(
    "caches", ["[{num_frames: 4}]", "[{height: 24}]", "[{condition_weights: [1, 1]}]", "[{clips: 0}]"]
)
def test_caches_that_no_network_takes_are_refused(caches):
    with pytest.raises(ValueError, match=r"^caches: "):
        schema.override(default_dit.config("tiny"), [f"caches={caches}"])


def test_a_missing_setting_is_named():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Needed:
        name: str

    with pytest.raises(ValueError, match=r"^config.name is missing$"):
        schema.from_mapping(Needed, {})


def test_flattened_settings_number_groups_in_lists():
    plain = json.loads(json.dumps(schema.to_mapping(default_dit.config("tiny"))))
    flat = schema.flatten(plain)
    assert (flat["caches.0.clips"], flat["loop.steps"], flat["task.sigmas.density"]) == (8, 4, "logit_normal")
    assert flat["optim.betas"] == [0.9, 0.99]


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="known: default, default-pictures, default-vae"):
        find("default-nothing")


@pytest.mark.parametrize(
    ("decay", "expected"),
    [("constant", [0.5, 1.0, 1.0, 1.0]), ("cosine", [0.5, 0.5, 0.1464]), ("linear", [0.5, 1.0, 0.5])],
)
def test_learning_rates_rise_and_fall(decay, expected):
    config = OptimConfig(warmup_steps=2, decay=decay, decay_fraction=0.5)
    steps = {"constant": (0, 1, 5, 99), "cosine": (0, 50, 75), "linear": (0, 50, 75)}[decay]
    assert [round(lr_factor(config, step, 100), 4) for step in steps] == expected


def test_weights_are_decayed_and_biases_are_not():
    net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8))
    (optimizer,) = build_optimizers(OptimConfig(weight_decay=0.1), [net])
    assert [(g["weight_decay"], len(g["params"])) for g in optimizer.param_groups] == [(0.0, 3), (0.1, 1)]
    assert optimizer.defaults["betas"] == (0.9, 0.99)
    set_learning_rates([optimizer], 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {5e-4}


def test_wide_weights_get_a_smaller_rate():
    net = nn.ModuleList([nn.Linear(4, 2), nn.Linear(100, 2), nn.Conv3d(100, 2, 1)])
    (optimizer,) = build_optimizers(OptimConfig(lr=1e-2, lr_by_fan_in=0.1), [net])
    rates = {group["lr"]: len(group["params"]) for group in optimizer.param_groups if group["weight_decay"]}
    assert rates == {1e-2: 1, 1e-3: 2}


def test_muon_takes_the_matrices_and_adamw_the_rest():
    net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2), nn.Embedding(3, 2))
    adamw, muon = build_optimizers(OptimConfig(kind="muon", lr=1e-3, muon_lr=1e-2), [net])
    matrices = {id(net[0].weight), id(net[2].weight)}
    assert {id(p) for group in muon.param_groups for p in group["params"]} == matrices
    rest = {id(p) for group in adamw.param_groups for p in group["params"]}
    assert rest == {id(p) for p in net.parameters()} - matrices
    assert {group["lr"] for group in muon.param_groups} == {1e-2}


def test_muon_leaves_out_layers_by_name():
    net = nn.ModuleDict({"modulation": nn.Linear(4, 8), "mlp": nn.Linear(4, 8)})
    _, muon = build_optimizers(OptimConfig(kind="muon"), [net])
    assert {id(p) for group in muon.param_groups for p in group["params"]} == {id(net["mlp"].weight)}
    _, muon = build_optimizers(OptimConfig(kind="muon", muon_excludes=()), [net])
    assert len([p for group in muon.param_groups for p in group["params"]]) == 2


def test_a_muon_step_is_orthogonal():
    layer = nn.Linear(6, 4, bias=True)
    before = layer.weight.detach().clone()
    _, muon = build_optimizers(OptimConfig(kind="muon", muon_lr=0.1, weight_decay=0.0), [layer])
    (layer(torch.randn(16, 6, generator=torch.Generator().manual_seed(0))) ** 2).mean().backward()
    muon.step()
    sizes = torch.linalg.svdvals(layer.weight.detach() - before) / (0.1 * (4 / 6) ** 0.5)
    assert 0.5 < float(sizes.min()) <= float(sizes.max()) < 1.5


def test_early_averages_forget_the_start():
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    average = ExponentialAverage({"net": net}, 0.999)
    nn.init.ones_(net.weight)
    average.update(1)
    assert float(average.averages["net.weight"]) == pytest.approx(1 - 2 / 11)
    for step in range(2, 200):
        average.update(step)
    assert float(average.averages["net.weight"]) > 0.99


def test_the_default_run_is_valid():
    assert RunConfig() == RunConfig(loop=LoopConfig(), optim=OptimConfig())


def test_pairs_are_read_by_their_own_types():
    settings = default_dit.config("tiny")
    changed = schema.override(settings, ['task.emphasis=[["star", 2.5], ["ring", 3]]'])
    assert changed.task.emphasis == (("star", 2.5), ("ring", 3.0))
    for wrong, place in (
        ('[["star"]]', r"\[0\]: expected 2 values"),
        ("[[1, 2]]", r"\[0\]\[0\]: expected str"),
    ):
        with pytest.raises(ValueError, match=rf"task\.emphasis{place}"):
            schema.override(settings, [f"task.emphasis={wrong}"])


SCHEDULES = ["linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 7])
def test_named_schedules_are_those_of_transformers(name, warmup):
    from transformers import get_scheduler

    more = {"cosine_with_restarts": {"num_cycles": 3}, "polynomial": {"power": 2.0}}.get(name, {})
    config = OptimConfig(
        lr=2e-3,
        lr_scheduler=name,
        warmup_steps=warmup,
        lr_cycles=more.get("num_cycles", 1),
        lr_power=more.get("power", 1.0),
    )
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2e-3)
    schedule = get_scheduler(
        name, optimizer, num_warmup_steps=warmup, num_training_steps=40, scheduler_specific_kwargs=more
    )
    for step in range(40):
        assert 2e-3 * lr_factor(config, step, 40) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    ("step", "norm", "limit"),
    [
        (0, 1.0, 0.25),  # five times 0.05
        (500, 9.0, 0.15),
        (999, 9.0, 0.0502),
        (1000, 0.2, 0.05),
        (1000, 0.25, 0.05),  # exactly five times the limit
        (1000, 0.3, 0.05 / 6),
        (5000, 0.5, 0.005),
        (5000, 80.0, 0.005),  # ten times at most
    ],
)
def test_abnormal_norms_are_clipped_harder(step, norm, limit):
    config = OptimConfig(max_grad_norm=0.05, clipping="abnormal")
    assert clip_limit(config, step, norm) == pytest.approx(limit, rel=1e-9)
    assert clip_limit(dataclasses.replace(config, clipping="norm"), step, norm) == 0.05
    assert clip_limit(dataclasses.replace(config, max_grad_norm=0.0), step, norm) == 0.0
    assert clip_limit(dataclasses.replace(config, abnormal_norm_clip_start=0), 0, 0.1) == 0.05


def test_parts_have_rates_of_their_own():
    net = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)])
    parts = [(list(net[0].parameters()), 1.0), ([net[1].weight], 0.5)]
    (optimizer,) = build_optimizers(OptimConfig(lr=1e-2, eps=1e-10), [net], parts)
    set_learning_rates([optimizer], 0.1)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    expected = {net[0].weight: 1e-3, net[0].bias: 1e-3, net[1].weight: 5e-4}
    assert rates == pytest.approx({id(p): rate for p, rate in expected.items()})
    assert {group["eps"] for group in optimizer.param_groups} == {1e-10}
    _, muon = build_optimizers(OptimConfig(kind="muon", muon_lr=1e-2), [net], parts)
    assert sorted(group["lr"] for group in muon.param_groups) == [5e-3, 1e-2]
    with pytest.raises(ValueError, match="nothing to train"):
        build_optimizers(OptimConfig(), [net], [([], 1.0)])


def test_vectors_are_decayed_where_asked():
    (optimizer,) = build_optimizers(OptimConfig(weight_decay=0.1, decay_vectors=True), [nn.Linear(4, 8)])
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.1}


@pytest.mark.parametrize(
    ("kind", "package", "extra"), [("adamw8bit", "bitsandbytes", "bnb"), ("came", "came_pytorch", "came")]
)
def test_optimisers_of_others_need_their_package(kind, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"^optim.kind {kind} needs {package}, .*'ea-train\[{extra}\]'$"):
        build_optimizers(OptimConfig(kind=kind), [nn.Linear(2, 2)])


def test_only_numbers_that_can_be_meant():
    for wrong, message in (
        ({"lr_cycles": 0}, "optim.lr_cycles must be at least 1"),
        ({"lr_power": 0.0}, "optim.lr_power must be above 0"),
        ({"initial_grad_norm_ratio": 0.5}, "optim.initial_grad_norm_ratio must be at least 1"),
        ({"eps": -1.0}, "optim.eps must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            OptimConfig(**wrong)
    with pytest.raises(ValueError, match=r"loop.checkpoint_every must be at least 0"):
        LoopConfig(checkpoint_every=-1)
