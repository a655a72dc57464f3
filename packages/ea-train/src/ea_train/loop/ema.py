"""Exponential moving average of weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ea_train.loop.sharding import like, local


class ExponentialAverage:
    """Float32 averages of the parameters of several modules.

    The decay rises as (1 + step) / (10 + step) to its final value, so early averages forget the random start.

    Args:
        modules: Modules by name; parameters that do not require gradients are skipped.
        decay: Final decay in [0, 1).
    """

    def __init__(self, modules: dict[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self._parameters = {
            f"{name}.{key}": parameter
            for name, module in modules.items()
            for key, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self.averages = {key: value.detach().float().clone() for key, value in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Blend the current weights in after optimiser step `step` (counted from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages = [local(average) for average in self.averages.values()]
        weights = [local(p.detach()).float() for p in self._parameters.values()]
        # One fused call instead of a loop over hundreds of small tensors, as torch's own optimisers do it.
        torch._foreach_lerp_(averages, weights, 1 - decay)  # pyright: ignore[reportPrivateUsage]

    @torch.no_grad()
    def restore(self, averages: Mapping[str, Tensor]) -> None:
        """Put back the averages of a checkpoint.

        Raises:
            KeyError: A parameter has no average, or an average no parameter.
        """
        if averages.keys() != self.averages.keys():
            raise KeyError(f"averaged weights {sorted(averages.keys() ^ self.averages.keys())}")
        for key, value in averages.items():
            self.averages[key].copy_(like(self.averages[key], value))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages into the modules for the duration of the block."""
        kept = {key: parameter.detach().clone() for key, parameter in self._parameters.items()}
        self._write(self.averages)
        try:
            yield
        finally:
            self._write(kept)

    @torch.no_grad()
    def _write(self, values: dict[str, Tensor]) -> None:
        for key, parameter in self._parameters.items():
            parameter.copy_(values[key])
