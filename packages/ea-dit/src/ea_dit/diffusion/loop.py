"""The denoise loop."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

Predictor = Callable[[Tensor, Tensor], Tensor]
"""(latents, timestep scalar) to the guided prediction, same shape as the latents."""

StepHook = Callable[[int, int, Tensor], None]
"""Called after every step with the number of steps done, their total, and the latents."""


class Cancelled(Exception):  # noqa: N818  (it is no error: the caller asked for it)
    """The caller asked to stop."""


class Sampler(Protocol):
    """A solver with the schedule of one run."""

    @property
    def timesteps(self) -> Tensor:
        """The network's timestep of every step."""
        ...

    def step(self, index: int, latents: Tensor, prediction: Tensor) -> Tensor:
        """Returns the latents after step `index`."""
        ...


def denoise(
    predict: Predictor,
    latents: Tensor,
    sampler: Sampler,
    *,
    on_step: StepHook | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Tensor:
    """Runs a sampler over its schedule.

    Args:
        predict: The guided network.
        latents: Where to start.
        sampler: Solver and schedule.
        on_step: See `StepHook`.
        should_stop: Asked before every step.

    Returns:
        The latents after the last step.

    Raises:
        Cancelled: If `should_stop` said so.
    """
    timesteps = sampler.timesteps
    with torch.no_grad():
        for index, timestep in enumerate(timesteps):
            if should_stop is not None and should_stop():
                raise Cancelled(f"stopped after {index} of {len(timesteps)} steps")
            latents = sampler.step(index, latents, predict(latents, timestep))
            if on_step is not None:
                on_step(index + 1, len(timesteps), latents)
    return latents
