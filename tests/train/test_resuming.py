"""A run of every kind that was cut off after any step ends with the bits of a run in one go."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from ea_train import schema
from ea_train.loop.trainer import Trainer
from ea_train.recipes import find

KINDS = {
    "dit": ("finetune", "v5.1-7b-inp", ()),
    "lora": ("finetune-lora", "v5.1-7b-inp", ()),
    "control": ("finetune", "v5.1-7b-control", ("edges",)),
    "vae": ("vae", "v5.1-7b-t2v", ()),
}
OFTEN = (
    "loop.checkpoint_every=1", "loop.keep_checkpoints=99", "loop.grad_accum=2", "loop.batch_size=1",
    "loop.ema_decay=0.9", "loop.log_every=99",
)  # fmt: skip
OWN = {
    "finetune": ("data.validation_clips=0",),
    "finetune-lora": ("data.validation_clips=0", "adapter.dropout=0.1"),
    "vae": ("task.disc_start=2",),
}


@pytest.fixture
def run(tiny_model, clips, tmp_path):
    """Train a kind in a folder until the end; the tensors of its last checkpoint."""

    def train(kind, name, steps, *values):
        recipe, family, controls = KINDS[kind]
        model, inputs = tiny_model(family), {"device": torch.device("cpu")}
        places = [f"model.path={model}", f"data.manifest={clips(*controls)}"]
        if recipe == "vae":
            places, inputs = [], {"model": model}
        module = find(recipe)
        config = schema.override(
            module.config("tiny"), [*places, *OFTEN, *OWN[recipe], f"loop.steps={steps}", *values]
        )
        Trainer(module.build(config, **inputs), config, tmp_path / name, device=torch.device("cpu")).fit()
        folder = checkpoint(tmp_path / name, steps)
        return {path.name: load_file(path) for path in sorted(folder.glob("*.safetensors"))}

    return train


def checkpoint(folder, step):
    return folder / "checkpoints" / f"step-{step:08d}"


def different(one, other):
    assert one.keys() == other.keys()
    return [
        f"{file} {name}"
        for file in one
        for name, value in one[file].items()
        if not torch.equal(value, other[file][name])
    ]


@pytest.mark.parametrize(
    ("steps", "cuts", "workers"),
    [
        (3, (2,), 2),
        pytest.param(20, range(1, 20), 0, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
        pytest.param(20, range(1, 20), 2, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
@pytest.mark.parametrize(
    "kind",
    ["dit", "lora", pytest.param("control", marks=pytest.mark.slow), "vae"],  # control is dit's recipe
)
def test_a_run_of_every_kind_continues_at_every_step(kind, steps, cuts, workers, run, tmp_path):
    straight = run(kind, "straight", steps)
    for cut in cuts:
        name = f"cut-{cut}"
        shutil.copytree(checkpoint(tmp_path / "straight", cut), checkpoint(tmp_path / name, cut))
        assert different(run(kind, name, steps, f"loop.num_workers={workers}"), straight) == []
        assert not checkpoint(tmp_path / name, cut - 1).exists()
        shutil.rmtree(tmp_path / name)
    first = checkpoint(tmp_path / "straight", 1).glob("*.safetensors")
    assert different({path.name: load_file(path) for path in first}, straight), "it learned something"
