"""Adapters train what they should, and what they export gives the same output when it is read back."""

import dataclasses

import pytest
import torch
from denoise_models import task_of, train
from safetensors import safe_open

from ea_dit import load_transformer
from ea_dit.lora import attach, read_lora
from ea_train.adapters import LORA_FILE, AdapterConfig, make_trained
from ea_train.loop.seeding import generator_at, seed_at
from ea_train.tasks.base import Place

FACTORS = {
    "lora": AdapterConfig(kind="lora", rank=2, alpha=4.0, format="kohya"),
    "loha": AdapterConfig(kind="loha", rank=2, alpha=4.0),
    "lokr": AdapterConfig(kind="lokr", rank=1, alpha=4.0),
}


def loss_of(task):
    return task.validate()["val/loss"]


def weights(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("v5.1-7b-inp", "lora"),
        ("v5.1-7b-inp", "lokr"),
        ("open-sora-1.1", "lora"),
        ("open-sora-1.1", "loha"),
        pytest.param("v5.1-7b-inp", "loha", marks=pytest.mark.slow),
        pytest.param("open-sora-1.1", "lokr", marks=pytest.mark.slow),
    ],
)
def test_factors_learn_and_come_back(family, kind, tiny_model, tmp_path):
    directory = tiny_model(family)
    task = task_of(directory, adapter=FACTORS[kind])
    before, start = weights(task.transformer), loss_of(task)
    assert start == pytest.approx(loss_of(task_of(directory)), rel=1e-6)  # fresh factors change nothing
    train(task, steps=8, lr=2e-2)
    learned = loss_of(task)
    assert learned < start - 0.02
    after = task.transformer.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert list(task.modules) == ["adapter"]
    assert sum(p.numel() for p in task.modules["adapter"].parameters()) < 0.5 * sum(
        p.numel() for p in task.transformer.parameters()
    )
    task.export(tmp_path / "export", {"recipe": "test"})
    other = task_of(directory)
    file = tmp_path / "export" / LORA_FILE
    overlay = attach(other.transformer, read_lora(file), dtype=torch.float32)
    assert overlay.report.left_over == 0
    assert loss_of(other) == pytest.approx(learned, rel=1e-4)
    with safe_open(file, framework="pt") as opened:
        facts = opened.metadata()
    assert (facts["recipe"], facts["ss_network_dim"]) == ("test", str(FACTORS[kind].rank))


@pytest.mark.parametrize("kind", ["lora", pytest.param("loha", marks=pytest.mark.slow), "lokr"])
def test_dropout_is_for_training_alone(kind, tiny_model):
    config = dataclasses.replace(FACTORS[kind], dropout=0.5)
    task = task_of(tiny_model("v5.1-7b-inp"), adapter=config)
    batch, place = task.batch(0, Place.alone(0), 2), Place.alone(0)
    assert train(task, steps=3, lr=2e-2)
    assert task.transformer.training

    def loss(generator):
        return float(task.step(batch, generator, place).losses["generator"].detach())

    first = loss(generator_at(0, 1))
    assert loss(generator_at(0, 1)) == first, "drawn from the seed of the micro-batch"
    torch.manual_seed(5)
    assert loss(torch.Generator().manual_seed(seed_at(0, 1))) != first
    assert loss_of(task) == loss_of(task), "held-out clips are judged without"
    assert task.transformer.training


def test_a_checkpoint_of_factors_starts_another_run(tiny_model):
    directory = tiny_model("v2-t2v")
    task, other = (task_of(directory, adapter=FACTORS["lora"]) for _ in range(2))
    train(task, steps=3, lr=2e-2)
    other.modules["adapter"].load_state_dict(task.modules["adapter"].state_dict())
    assert loss_of(other) == loss_of(task)


@pytest.mark.parametrize("family", ["v3-inp", "v4-inp", "v5-7b-control", "v1-t2v"])
def test_whole_networks_come_back(family, tiny_model, tmp_path):
    task = task_of(tiny_model(family))
    train(task, steps=2)
    task.export(tmp_path, {"recipe": "test"})
    again = load_transformer(tmp_path)
    state = task.transformer.state_dict()
    assert again.config == task.transformer.config
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.state_dict().items())


def test_parts_learn_at_their_rates(tiny_model):
    config = AdapterConfig(kind="parts", names=("attn1.to_q",), half_rate_names=("attn1", "patch_embed"))
    task = task_of(tiny_model("v5.1-7b-t2v"), adapter=config)
    (full, one), (half, other) = task.parameter_groups()["generator"]
    assert (one, other) == (1.0, 0.5)
    names = {id(parameter): name for name, parameter in task.transformer.named_parameters()}
    # The first is a piece of released names, the last of ours.
    assert {names[id(p)].split(".")[-2] for p in full} == {"query"}
    assert {"patch_embed.weight", "patch_embed.bias"} < {names[id(p)] for p in half}
    assert not {id(p) for p in full} & {id(p) for p in half}
    before = weights(task.transformer)
    train(task, steps=2)
    changed = {
        name for name, tensor in task.transformer.state_dict().items() if not before[name].equal(tensor)
    }
    assert changed <= {names[id(p)] for p in (*full, *half)}
    assert len(changed) > 4


def test_everything_with_parts_at_half_rate(tiny_model):
    task = task_of(tiny_model("v5.1-7b-t2v"), adapter=AdapterConfig(half_rate_names=("blocks",)))
    (full, _), (half, _) = task.parameter_groups()["generator"]
    assert len(full) + len(half) == len(list(task.transformer.parameters()))
    every = task_of(tiny_model("v5.1-7b-t2v"), adapter=AdapterConfig(kind="parts", names=(".",)))
    assert len(every.parameter_groups()["generator"][0][0]) == len(full) + len(half)


def test_recomputed_blocks_train_factors(tiny_model):
    gradients = []
    for recompute in (False, True):
        task = task_of(tiny_model("v5.1-7b-t2v"), adapter=FACTORS["loha"], recompute=recompute)
        place = Place.alone(0)
        task.step(task.batch(0, place, 2), torch.Generator().manual_seed(0), place).losses[
            "generator"
        ].backward()
        gradients.append([p.grad for p in task.modules["adapter"].parameters()])
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "parts"}, r"adapter\.names is empty; kind 'parts' needs"),
        ({"names": ("a",)}, r"adapter\.names are for kind 'parts', the kind is 'all'"),
        ({"kind": "lora", "half_rate_names": ("a",)}, r"adapter\.half_rate_names are for the kinds"),
        ({"kind": "parts", "names": ("",)}, "must not have empty texts"),
        ({"kind": "lora", "rank": 0}, r"adapter\.rank must be at least 1, got 0"),
        ({"dropout": 0.1}, r"adapter\.dropout is for lora, loha and lokr, the kind is 'all'"),
        ({"kind": "lora", "dropout": 1.0}, r"adapter\.dropout must be from 0 to below 1, got 1\.0"),
        ({"kind": "loha", "format": "peft"}, r"adapter\.format 'peft' has no loha"),
    ],
)
def test_settings_that_cannot_be_meant(values, message):
    with pytest.raises(ValueError, match=message):
        AdapterConfig(**values)


def test_names_that_fit_nothing(tiny_model):
    network = load_transformer(tiny_model("v5.1-7b-t2v") / "transformer")
    for values, message in (
        ({"kind": "parts", "names": ("hedgehog",)}, r"adapter\.names: 'hedgehog' is in no parameter name"),
        ({"half_rate_names": ("fox",)}, r"adapter\.half_rate_names: 'fox' is in no parameter name"),
        ({"kind": "lora", "targets": ("badger",)}, r"adapter\.targets: no layer fits badger"),
    ):
        with pytest.raises(ValueError, match=message):
            make_trained(network, AdapterConfig(**values))
