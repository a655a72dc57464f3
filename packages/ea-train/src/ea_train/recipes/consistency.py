"""A LoRA with which a denoiser needs few steps and no guidance: latent consistency distillation.

The student of `adapter.kind` "all" is the whole network. Sample with LCM (of flow models Flow_LCM), 4 to 8
steps and guidance 1.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from ea_train.adapters import AdapterConfig, make_trained
from ea_train.config import RunConfig
from ea_train.data import DataConfig
from ea_train.model import ModelConfig, grown_config, read_model
from ea_train.objectives.consistency import teacher_path
from ea_train.recipes import finetune
from ea_train.tasks.consistency import ConsistencyConfig, ConsistencyTask
from ea_train.tasks.denoise_conditions import ConditionConfig
from ea_train.tasks.denoise_live import EncodingConfig


@dataclass(frozen=True, kw_only=True)
class ConsistencyRunConfig(RunConfig):
    """Settings of `ea-train consistency`.

    Attributes:
        task: Objective.
        model: Which networks.
        data: Which clips.
        encoding: How pixels become latents.
        conditions: What the network is given.
        adapter: What learns.
    """

    task: ConsistencyConfig = field(default_factory=ConsistencyConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    encoding: EncodingConfig = field(default_factory=EncodingConfig)
    conditions: ConditionConfig = field(default_factory=ConditionConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)


def config(preset: Literal["tiny", "cpu", "gpu"]) -> ConsistencyRunConfig:
    """Settings: data, optimiser and loop of `finetune-lora`, and the released objective."""
    base = finetune.config(preset)
    rank, rate = {"tiny": (4, 1e-3), "cpu": (32, 2e-4), "gpu": (128, 1e-4)}[preset]
    return ConsistencyRunConfig(
        loop=base.loop,
        optim=replace(base.optim, lr=rate),
        model=base.model,
        data=base.data,
        adapter=AdapterConfig(kind="lora", rank=rank, alpha=rank / 2),
    )


def build(settings: ConsistencyRunConfig, *, device: torch.device) -> ConsistencyTask:
    """The task. What configs, headers and the manifest tell is checked before any weight is read.

    Args:
        settings: Of the run.
        device: Where the networks live.

    Raises:
        ValueError: The model, the data and the settings do not fit.
    """
    parts, outline = read_model(settings.model)
    _, traits = grown_config(settings.model, parts)
    steps, scaling = settings.task.num_ddim_timesteps, settings.task.timestep_scaling
    teacher_path(outline.schedule or traits.schedule, steps, scaling=scaling)  # refuses what has no path
    networks, source = finetune.live_source(settings, device)
    trained = make_trained(networks.transformer, settings.adapter, seed=settings.loop.seed)
    return ConsistencyTask(networks, source, settings.task, trained, recompute=settings.model.recompute)
