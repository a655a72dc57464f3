"""Learning rates over a run."""

import math

from ea_train.config import OptimConfig

_POLYNOMIAL_END = 1e-7
"""Rate that `polynomial` ends at, as in transformers."""


def lr_factor(config: OptimConfig, step: int, total: int) -> float:
    """Multiplier on the peak learning rate at `step` (from 0) of `total`."""
    if config.lr_scheduler is not None:
        return _named_factor(config, step, total)
    warmup = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    progress = min(step / max(total, 1), 1.0)
    if config.decay == "cosine":
        return warmup * 0.5 * (1 + math.cos(math.pi * progress))
    if config.decay == "linear":
        return warmup * min(1.0, (1 - progress) / max(config.decay_fraction, 1e-9))
    return warmup


def _named_factor(config: OptimConfig, step: int, total: int) -> float:
    """The schedule that transformers knows under this name."""
    name, warmup = config.lr_scheduler, config.warmup_steps
    if name == "constant":
        return 1.0
    if step < warmup:
        return step / warmup
    if name == "constant_with_warmup":
        return 1.0
    progress = min((step - warmup) / max(total - warmup, 1), 1.0)
    if name == "linear":
        return 1 - progress
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if name == "cosine_with_restarts":
        return 0.0 if progress >= 1 else 0.5 * (1 + math.cos(math.pi * (config.lr_cycles * progress % 1)))
    if config.lr <= _POLYNOMIAL_END:
        return 1.0
    end = _POLYNOMIAL_END / config.lr
    return (1 - end) * (1 - progress) ** config.lr_power + end
