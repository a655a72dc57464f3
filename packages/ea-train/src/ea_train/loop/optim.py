"""Optimisers of a group of networks."""

from collections.abc import Iterable
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from ea_train.config import OptimConfig
from ea_train.loop.muon import Muon

_CAME_BETA = 0.9999
_CAME_EPS = (1e-30, 1e-16)
"""What the released trainers give CAME besides the two betas."""

Parts = list[tuple[list[nn.Parameter], float]]
"""Parameters with the factor on their learning rate."""


def build_optimizers(
    config: OptimConfig, modules: Iterable[nn.Module], parts: Parts | None = None
) -> list[torch.optim.Optimizer]:
    """The optimisers of one group; each remembers its peak rate in `peak_lr`.

    Biases, norms and other parameters with fewer than two axes are not decayed, unless
    `config.decay_vectors`. Under `muon` the weights of linear layers and 3-D convolutions go to Muon,
    everything else and the layers in `config.muon_excludes` to AdamW.

    Args:
        config: Kind, rates and decay.
        modules: Networks that the group updates.
        parts: What to update of them; all that requires gradients, with factor 1, if None.

    Raises:
        ValueError: There is nothing to update, or the kind needs a package that is not there.
    """
    modules = list(modules)
    if parts is None:
        parts = [([p for module in modules for p in module.parameters() if p.requires_grad], 1.0)]
    if not any(parameters for parameters, _ in parts):
        raise ValueError("there is nothing to train: no parameter was chosen")
    matrices = _matrices(modules, config.muon_excludes) if config.kind == "muon" else set[int]()
    rest: list[dict[str, Any]] = []
    hidden: list[dict[str, Any]] = []
    for parameters, factor in parts:
        others = [parameter for parameter in parameters if id(parameter) not in matrices]
        rest += _groups(others, config, factor)
        if chosen := [parameter for parameter in parameters if id(parameter) in matrices]:
            hidden.append({"params": chosen, "lr": config.muon_lr * factor})
    optimizers: list[torch.optim.Optimizer] = []
    if rest:
        optimizers.append(_make(config, rest))
    if hidden:
        optimizers.append(Muon(hidden, lr=config.muon_lr, weight_decay=config.weight_decay))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_learning_rates(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Scale every group's peak rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor


def _make(config: OptimConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    # One pass over weights, gradients and moments, on a CPU as on a GPU, and no copies of them.
    kind: Any = partial(torch.optim.AdamW, fused=True)
    if config.kind == "adamw8bit":
        kind = _from_extra(config.kind, "bitsandbytes", "bnb").optim.AdamW8bit
    elif config.kind == "came":
        kind = _from_extra(config.kind, "came_pytorch", "came").CAME
        return kind(groups, lr=config.lr, betas=(*config.betas, _CAME_BETA), eps=_CAME_EPS)
    return kind(groups, lr=config.lr, betas=config.betas, eps=config.eps)


def _from_extra(kind: str, package: str, extra: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise ValueError(
            f"optim.kind {kind} needs {package}, which is not installed: pip install 'ea-train[{extra}]'"
        ) from None


def _groups(parameters: list[nn.Parameter], config: OptimConfig, factor: float) -> list[dict[str, Any]]:
    # Vectors come first; without `lr_by_fan_in` all the rest is one group after them.
    by_fan_in: dict[int, list[nn.Parameter]] = {}
    for parameter in parameters:
        fan_in = 0 if parameter.ndim < 2 else parameter[0].numel() if config.lr_by_fan_in else 1
        by_fan_in.setdefault(fan_in, []).append(parameter)
    groups: list[dict[str, Any]] = []
    for fan_in, members in sorted(by_fan_in.items()):
        scaled = config.lr_by_fan_in / fan_in if fan_in and config.lr_by_fan_in else config.lr
        decay = config.weight_decay if fan_in or config.decay_vectors else 0.0
        groups.append({"params": members, "lr": factor * min(config.lr, scaled), "weight_decay": decay})
    return groups


def _matrices(modules: list[nn.Module], excludes: tuple[str, ...]) -> set[int]:
    return {
        id(layer.get_parameter("weight"))
        for module in modules
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv3d) and not set(name.split(".")) & set(excludes)
    }
