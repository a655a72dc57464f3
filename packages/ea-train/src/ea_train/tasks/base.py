"""What the loop asks of a task."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Batch = dict[str, Any]
"""Tensors and lists by name, as a task's data source makes them."""


@dataclass(frozen=True, kw_only=True)
class StepOutput:
    """Losses by optimiser group, and numbers to log.

    Attributes:
        losses: Scalar to minimise for each group named in `Task.trainable`.
        metrics: Detached scalars; read by the loop only when it logs.
    """

    losses: dict[str, Tensor]
    metrics: dict[str, Tensor] = field(default_factory=dict)


class Task(Protocol):
    """One training objective: its networks, its data, its loss."""

    modules: dict[str, nn.Module]
    """Every network that a checkpoint holds, by name."""
    trainable: dict[str, list[str]]
    """Optimiser group to the names in `modules` that it updates."""
    inputs: dict[str, str]
    """What else the run depends on (data, frozen networks), described; a continued run must agree."""

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The batch of one step on the CPU; a pure function of its arguments."""
        ...

    def step(self, batch: Batch, generator: torch.Generator, step: int) -> StepOutput:
        """Forward pass and losses; all randomness from `generator`."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures on held-out data, with the weights that are in the modules now."""
        ...

    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write the finished networks in their released layout."""
        ...
