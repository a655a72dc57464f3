"""A LoRA with which a denoiser needs few steps and no guidance: latent consistency distillation.

The student of `adapter.kind` "all" is the whole network. Sample with LCM (of flow models Flow_LCM), 4 to 8
steps and guidance 1.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from ea_dit.diffusion.flow import FlowMatching
from ea_dit.pipelines.variants import Traits
from ea_train.adapters import AdapterConfig, make_trained
from ea_train.config import RunConfig
from ea_train.data import DataConfig
from ea_train.model import ModelConfig, grown_config, read_model
from ea_train.objectives.consistency import teacher_path
from ea_train.recipes import finetune
from ea_train.recipes.watching import clip_maker, requests_of
from ea_train.samples import SampleConfig
from ea_train.tasks.consistency import ConsistencyConfig, ConsistencyTask
from ea_train.tasks.denoise_conditions import ConditionConfig, resolve_mode
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
        samples: Clips to look at; empty `sampler` takes the one for few steps.
    """

    task: ConsistencyConfig = field(default_factory=ConsistencyConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    encoding: EncodingConfig = field(default_factory=EncodingConfig)
    conditions: ConditionConfig = field(default_factory=ConditionConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    samples: SampleConfig = field(default_factory=lambda: SampleConfig(num_steps=4, guidance_scale=1.0))


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
    transformer, traits = grown_config(settings.model, parts)
    steps, scaling = settings.task.num_ddim_timesteps, settings.task.timestep_scaling
    teacher_path(outline.schedule or traits.schedule, steps, scaling=scaling)  # refuses what has no path
    mode = resolve_mode(settings.conditions.mode, traits)
    recipe = finetune.fitted_recipe(settings.data.recipe, traits, mode, settings.loop)
    recipe = finetune.on_grid(recipe, outline.geometry)
    requests = requests_of(_few_steps(settings.samples, traits), outline, traits, transformer, recipe)
    networks, source = finetune.live_source(settings, device)
    trained = make_trained(networks.transformer, settings.adapter, seed=settings.loop.seed)
    task = ConsistencyTask(networks, source, settings.task, trained, recompute=settings.model.recompute)
    task.clips = clip_maker(settings.samples, networks, requests, trained)
    return task


def _few_steps(samples: SampleConfig, traits: Traits) -> SampleConfig:
    """With the sampler that the student is made for, where none is named."""
    flow = isinstance(traits.schedule, FlowMatching)
    return replace(samples, sampler=samples.sampler or ("Flow_LCM" if flow else "LCM"))
