"""A LoRA that a reward likes: prompts are all that is needed beside a model and something that judges."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from ea_dit.pipelines.checks import check_request
from ea_train.adapters import AdapterConfig, make_trained
from ea_train.config import LoopConfig, OptimConfig, RunConfig
from ea_train.model import ModelConfig, describe, load_networks, read_model
from ea_train.objectives.backprop import BackpropConfig
from ea_train.recipes.watching import clip_maker
from ea_train.rewards.build import load_rewards
from ea_train.sample_requests import sample_requests
from ea_train.samples import SampleConfig
from ea_train.tasks.reward import RewardTask, RewardTaskConfig
from ea_train.tasks.reward_prompts import read_prompts


@dataclass(frozen=True, kw_only=True)
class RewardRunConfig(RunConfig):
    """Settings of `ea-train reward`.

    Attributes:
        task: What is generated and judged.
        model: Which networks.
        adapter: What learns.
        prompts: Text file, one prompt a line.
        validation_prompts: The same for validation; empty holds every twentieth of `prompts` out.
        samples: Clips to look at.
    """

    task: RewardTaskConfig = field(default_factory=RewardTaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    prompts: str = ""
    validation_prompts: str = ""
    samples: SampleConfig = field(default_factory=SampleConfig)


def config(preset: Literal["tiny", "cpu", "gpu"]) -> RewardRunConfig:
    """Settings: `tiny` for tests, `cpu` for small models, `gpu` as released, at the released advice's size.

    V5 learns from the last step. Gradients of the last step of flow models are tiny, so for V5.1 `gpu` has
    the last ten.
    """
    small = OptimConfig(lr=1e-2 if preset == "tiny" else 1e-3, warmup_steps=0, decay="constant")
    if preset == "tiny":
        return RewardRunConfig(
            loop=LoopConfig(steps=4, batch_size=2, log_every=1, ema_decay=0.0),
            optim=small,
            adapter=AdapterConfig(kind="lora", rank=4, alpha=4.0),
            task=RewardTaskConfig(
                height=32, width=32, num_frames=5, num_steps=3, num_decoded_latents=1, validation_prompts=2
            ),
        )
    if preset == "cpu":
        return RewardRunConfig(
            loop=LoopConfig(steps=200, batch_size=4, log_every=5, ema_decay=0.0, validate_every=50),
            optim=small,
            adapter=AdapterConfig(kind="lora", rank=16, alpha=8.0),
            task=RewardTaskConfig(
                height=64,
                width=64,
                num_frames=17,
                num_steps=12,
                backprop=BackpropConfig(strategy="tail", count=3),
            ),
        )
    return RewardRunConfig(
        loop=LoopConfig(
            steps=3000, batch_size=1, grad_accum=8, precision="bf16", ema_decay=0.0, validate_every=250
        ),
        optim=OptimConfig(
            lr=1e-5,
            betas=(0.9, 0.999),
            weight_decay=0.005,
            warmup_steps=0,
            decay="constant",
            max_grad_norm=0.3,
        ),
        model=ModelConfig(recompute=True),
        adapter=AdapterConfig(kind="lora", rank=128, alpha=64.0),
        task=RewardTaskConfig(
            height=256,
            width=256,
            num_decoded_latents=1,
            backprop=BackpropConfig(strategy="tail", count=10),
        ),
    )


def build(settings: RewardRunConfig, *, device: torch.device) -> RewardTask:
    """The task. What settings, files of prompts and configs tell is checked before the model is read.

    Args:
        settings: Of the run.
        device: Where the networks live.

    Raises:
        ValueError: The model, the prompts, the rewards and the settings do not fit.
    """
    if not settings.prompts:
        raise ValueError("prompts is empty; give a text file with one prompt a line (--prompts FILE)")
    if settings.model.low_vram:
        raise ValueError("model.low_vram must be false: rewards need the autoencoder in the backward pass")
    heldout = Path(settings.validation_prompts) if settings.validation_prompts else None
    prompts = read_prompts(Path(settings.prompts), heldout)
    parts, outline = read_model(settings.model)
    request = settings.task.request
    request.validate()
    process = outline.schedule or parts.traits.schedule
    check_request(request, parts.traits, process)
    size = (request.height, request.width)
    clips = sample_requests(settings.samples, parts.traits, process, size=size, num_frames=request.num_frames)
    settings.task.backprop.check(settings.task.num_steps)
    rewards = load_rewards(settings.task.rewards)
    networks = load_networks(settings.model, device, seed=settings.loop.seed)
    trained = make_trained(networks.transformer, settings.adapter, seed=settings.loop.seed)
    task = RewardTask(networks, prompts, settings.task, rewards, trained, recompute=settings.model.recompute)
    task.inputs["model"] = describe(parts)
    task.clips = clip_maker(settings.samples, networks, clips, trained)
    return task
