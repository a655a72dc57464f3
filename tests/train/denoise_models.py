"""Tiny models of every family with a data set in memory, for the tests of the denoise task."""

import torch

from ea_train.adapters import AdapterConfig, make_trained
from ea_train.model import ModelConfig, load_networks
from ea_train.objectives.config import ObjectiveConfig, make_objective
from ea_train.tasks.base import Place
from ea_train.tasks.denoise import DenoiseTask
from ea_train.tasks.denoise_conditions import ConditionConfig
from ea_train.tasks.denoise_live import LiveClips
from ea_train.tasks.denoise_validation import ValidationConfig

HELD_OUT = 1 << 20
POSITIONS = (0.2, 0.5, 0.8)


class MemoryBatches:
    """Flat coloured clips with a little noise, and all that a variant may be given beside them."""

    def __init__(self, variant="text", *, frames=5, side=32, held_out=2):
        self.variant = variant
        self.frames, self.side, self.num_held_out = frames, side, held_out
        self.inputs = {"data": f"memory {variant}"}

    def batch(self, number, *, lead=None):
        del lead
        generator = torch.Generator().manual_seed(number)
        size = (2, self.frames, 3, self.side, self.side)

        def pixels():
            colours = torch.rand(2, 1, 3, 1, 1, generator=generator) * 2 - 1
            return (colours + 0.1 * torch.randn(size, generator=generator)).clamp(-1, 1)

        batch = {"pixels": pixels(), "texts": ["a red circle", "it moves"], "fps": torch.tensor([24.0, 0.0])}
        if self.variant in ("inpaint", "frames"):
            batch["masks"] = torch.ones(2, self.frames, self.side, self.side, dtype=torch.bool)
            batch["masks"][0, 0] = False
        if self.variant == "control":
            batch["control"] = pixels()
        if self.variant == "camera":
            batch["rays"] = torch.randn(2, self.frames, 6, self.side, self.side, generator=generator)
        return {**batch, "references": torch.tensor([0, 1 % self.frames])}

    def held_out(self):
        for number in range(self.num_held_out):
            yield self.batch(HELD_OUT + number)


def task_of(directory, *, objective=None, conditions=None, adapter=None, recompute=False, data=None):
    """The task of a model directory."""
    parts = load_networks(ModelConfig(path=str(directory)), torch.device("cpu"))
    data = MemoryBatches(parts.traits.variant) if data is None else data
    return DenoiseTask(
        parts.transformer,
        LiveClips(parts, data, conditions or ConditionConfig()),
        make_objective(objective or ObjectiveConfig(), parts.transformer.config, parts.process),
        trained=make_trained(parts.transformer, adapter or AdapterConfig()),
        validation=ValidationConfig(positions=POSITIONS),
        recompute=recompute,
    )


def train(task, *, steps=12, lr=3e-3):
    """Train without a loop; the losses."""
    parameters = [p for group, _ in task.parameter_groups()["generator"] for p in group]
    optimiser = torch.optim.Adam(parameters, lr=lr)
    losses = []
    for step in range(steps):
        place = Place.alone(step)
        output = task.step(task.batch(0, place, 2), torch.Generator().manual_seed(step), place)
        output.losses["generator"].backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(output.losses["generator"].detach()))
    return losses
