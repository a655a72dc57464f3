"""Limits on the norm of a gradient."""

from ea_train.config import OptimConfig

_ABNORMAL = 5.0
"""Norms beyond this multiple of the limit are abnormal."""

_HARDEST = 10.0
"""The limit of an abnormal norm is divided by at most this."""


def clip_limit(config: OptimConfig, step: int, norm: float) -> float:
    """The norm that a gradient is scaled down to if it is longer.

    Args:
        config: `max_grad_norm` and, for `clipping="abnormal"`, the ramp in front of it.
        step: Optimiser step, from 0.
        norm: Of the gradient.

    Returns:
        The limit; 0 if gradients are not clipped. Under `norm` it is `max_grad_norm`. Under `abnormal`, the
        rule of the released trainers, it falls linearly from `initial_grad_norm_ratio` times that to that by
        step `abnormal_norm_clip_start`; from there on, a norm above five times the limit has its limit
        divided by min(norm / limit, 10), so that one spoilt batch moves little.
    """
    limit = config.max_grad_norm
    if config.clipping == "norm" or not limit:
        return limit
    if step < config.abnormal_norm_clip_start:
        left = 1 - step / config.abnormal_norm_clip_start
        return limit * (1 + (config.initial_grad_norm_ratio - 1) * left)
    ratio = norm / limit
    return limit / min(ratio, _HARDEST) if ratio > _ABNORMAL else limit
