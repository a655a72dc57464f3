"""Optimisers and learning-rate schedules."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ea_train.config import OptimConfig
from ea_train.loop.muon import Muon


def lr_factor(config: OptimConfig, step: int, total: int) -> float:
    """Multiplier on the peak learning rate at `step` (from 0) of `total`."""
    warmup = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    progress = min(step / max(total, 1), 1.0)
    if config.decay == "cosine":
        return warmup * 0.5 * (1 + math.cos(math.pi * progress))
    if config.decay == "linear":
        return warmup * min(1.0, (1 - progress) / max(config.decay_fraction, 1e-9))
    return warmup


def build_optimizers(config: OptimConfig, modules: Iterable[nn.Module]) -> list[torch.optim.Optimizer]:
    """The optimisers of one group; each remembers its peak rate in `peak_lr`.

    Biases, norms and other parameters with fewer than two axes are not decayed. Under `muon` the weights of
    linear layers and 3-D convolutions go to Muon, everything else and the layers in `config.muon_excludes` to
    AdamW.
    """
    modules = list(modules)
    matrices = _matrices(modules, config.muon_excludes) if config.kind == "muon" else []
    chosen = {id(parameter) for parameter in matrices}
    rest = [
        parameter
        for module in modules
        for parameter in module.parameters()
        if parameter.requires_grad and id(parameter) not in chosen
    ]
    first, second = config.betas
    optimizers: list[torch.optim.Optimizer] = []
    if rest:
        groups = _groups(rest, config)
        optimizers.append(torch.optim.AdamW(groups, lr=config.lr, betas=(first, second), foreach=True))
    if matrices:
        optimizers.append(Muon(matrices, lr=config.muon_lr, weight_decay=config.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_learning_rates(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Scale every group's peak rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor


def _groups(parameters: list[nn.Parameter], config: OptimConfig) -> list[dict[str, Any]]:
    # Group 0 is what is never decayed; without `lr_by_fan_in` all the rest is group 1.
    by_fan_in: dict[int, list[nn.Parameter]] = {}
    for parameter in parameters:
        fan_in = 0 if parameter.ndim < 2 else parameter[0].numel() if config.lr_by_fan_in else 1
        by_fan_in.setdefault(fan_in, []).append(parameter)
    groups: list[dict[str, Any]] = []
    for fan_in, members in sorted(by_fan_in.items()):
        scaled = config.lr_by_fan_in / fan_in if fan_in and config.lr_by_fan_in else config.lr
        decay = config.weight_decay if fan_in else 0.0
        groups.append({"params": members, "lr": min(config.lr, scaled), "weight_decay": decay})
    return groups


def _matrices(modules: list[nn.Module], excludes: tuple[str, ...]) -> list[nn.Parameter]:
    found = [
        layer.get_parameter("weight")
        for module in modules
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv3d) and not set(name.split(".")) & set(excludes)
    ]
    return [weight for weight in found if weight.requires_grad]
