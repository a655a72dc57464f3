"""A LoRA over the denoiser of a model directory; `finetune` with other defaults."""

from dataclasses import replace
from typing import Any, Literal

from ea_train.adapters import AdapterConfig
from ea_train.recipes import finetune
from ea_train.recipes.finetune import FinetuneConfig
from ea_train.tasks.denoise import DenoiseTask


def config(preset: Literal["tiny", "cpu", "gpu"]) -> FinetuneConfig:
    """Settings: those of `finetune`, for a LoRA; rank and learning rate of the released recipe on `gpu`."""
    base = finetune.config(preset)
    rank, rate = {"tiny": (4, 5e-3), "cpu": (16, 5e-4), "gpu": (128, 1e-4)}[preset]
    return replace(
        base,
        adapter=AdapterConfig(kind="lora", rank=rank, alpha=rank / 2),
        optim=replace(base.optim, lr=rate),
    )


def build(settings: FinetuneConfig, **inputs: Any) -> DenoiseTask:
    """The task; the arguments are those of `finetune.build`."""
    return finetune.build(settings, **inputs)
