"""Tiny tasks that show what the loop does, and the tiny networks of the recipes."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from ea_train.config import LoopConfig, OptimConfig, RunConfig
from ea_train.loop import trainer as trainer_module
from ea_train.loop.trainer import Trainer
from ea_train.tasks.base import StepOutput

sys.path.insert(0, str(Path(__file__).parent))  # helpers that several files share


class ToyTask:
    """Regression on rows that are numbered through, so that batches can be cut in any way."""

    def __init__(self, *, noise=0.1, on_step=lambda step: None):
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 3))
        self.modules = {"net": self.net}
        self.trainable = {"generator": ["net"]}
        self.inputs = {"rows": "toy"}
        self.noise = noise
        self.on_step = on_step

    def batch(self, seed, place, size):
        rows = [torch.Generator().manual_seed(seed << 16 | (place.batch * size + row)) for row in range(size)]
        return {"x": torch.stack([torch.randn(4, generator=row) for row in rows])}

    def step(self, batch, generator, place):
        self.on_step(place.step)
        x = batch["x"]
        noise = torch.randn(x.shape, generator=generator) * self.noise
        error = (self.net(x + noise).float() - x[:, :3]).square().mean()
        return StepOutput(losses={"generator": error}, metrics={"error": error.detach()})

    @torch.no_grad()
    def validate(self):
        return {"val/weights": float(sum(p.double().sum() for p in self.net.parameters()))}

    def export(self, directory, metadata):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "facts.txt").write_text(repr((self.validate(), metadata)))


class TwoGroupTask(ToyTask):
    """A generator that tries to please a judge, and the judge."""

    def __init__(self, **options):
        super().__init__(**options)
        self.judge = nn.Linear(3, 1)
        self.modules["judge"] = self.judge
        self.trainable["discriminator"] = ["judge"]

    def step(self, batch, generator, place):
        output = super().step(batch, generator, place)
        made = self.net(batch["x"])
        losses = {
            "generator": output.losses["generator"] - 0.1 * self.judge(made).mean(),
            "discriminator": self.judge(made.detach()).square().mean(),
        }
        return StepOutput(losses=losses, metrics=output.metrics)


@pytest.fixture
def toy():
    return ToyTask


@pytest.fixture
def two_groups():
    return TwoGroupTask


@pytest.fixture(autouse=True)
def _without_tensorboard(request, monkeypatch):
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(trainer_module, "open_trackers", lambda loop, directory, finished: [])


@pytest.fixture
def settings():
    """A short run with a checkpoint after every step."""

    def make(loop=None, optim=None):
        shown = LoopConfig(steps=6, batch_size=4, log_every=1, checkpoint_minutes=0.0, ema_decay=0.9)
        return RunConfig(
            loop=dataclasses.replace(shown, **(loop or {})),
            optim=dataclasses.replace(OptimConfig(warmup_steps=2), **(optim or {})),
        )

    return make


@pytest.fixture
def trainer(tmp_path):
    """Make a trainer on the CPU; one folder per name."""

    def make(task, config, name="run"):
        return Trainer(task, config, tmp_path / name, device=torch.device("cpu"))

    return make


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Makes a tiny model directory of a family once; nobody writes into it."""
    from ea_dit.pipelines.tiny import make_tiny

    made = {}

    def get(family):
        if family not in made:
            made[family] = make_tiny(family, tmp_path_factory.mktemp(family) / "model")
        return made[family]

    return get


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Manifests of a few generated clips and pictures of 48 x 32 pixels, by what steers them."""
    from ea_data.synthetic.folder import write_samples
    from ea_data.synthetic.samples import Plan

    made = {}

    def get(*controls):
        if controls not in made:
            plan = Plan(num_frames=9, height=32, width=48, scenes=("camera",), controls=controls)
            made[controls] = write_samples(tmp_path_factory.mktemp("clips") / "data", plan, 6).manifest
        return made[controls]

    return get


@pytest.fixture(scope="session")
def control_model(tmp_path_factory):
    """A directory like the bundled model's, tiny."""
    from ea_train import latent_cache
    from ea_train.recipes import default_dit, default_text, default_vae

    folder = tmp_path_factory.mktemp("model")
    default_vae.build(default_vae.config("tiny")).export(folder / "vae", {})
    default_text.build(default_text.config("tiny")).export(folder / "text_encoder", {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latent_cache, "SHARD_CLIPS", 8)
        task = default_dit.build(
            default_dit.config("tiny"),
            vae_directory=folder / "vae",
            text_directory=folder / "text_encoder",
            cache_directory=folder / "latents",
            device=torch.device("cpu"),
        )
    for parameter in task.transformer.parameters():  # a fresh network predicts zeros
        torch.nn.init.normal_(parameter, std=0.1)
    task.export(folder / "transformer", {})
    return folder
