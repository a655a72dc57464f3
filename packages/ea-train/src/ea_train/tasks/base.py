"""What the loop asks of a task."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ea_train.samples import ClipMaker

Batch = dict[str, Any]
"""Tensors and lists by name, as a task's data source makes them."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a micro-batch stands in the run.

    Attributes:
        step: Optimiser step, from 0.
        batch: Number of the micro-batch in the whole run, from 0; no two of any rank share one.
        rank: Of the process that works on it.
        world_size: Number of processes.
        lead: `batch` of rank 0 at the same moment: what all ranks must draw alike is drawn from it.
    """

    step: int
    batch: int
    rank: int = 0
    world_size: int = 1
    lead: int

    @classmethod
    def alone(cls, step: int) -> "Place":
        """The one micro-batch of a step of a single process that accumulates nothing."""
        return cls(step=step, batch=step, lead=step)


@dataclass(frozen=True, kw_only=True)
class StepOutput:
    """Losses by optimiser group, and numbers to log.

    Attributes:
        losses: Scalar to minimise for each group named in `Task.trainable`.
        metrics: Detached scalars; read by the loop only when it logs.
        counts: How much was worked on: `samples`, else the length of the batch, and `tokens` where that means
            something. The log turns them into rates.
    """

    losses: dict[str, Tensor]
    metrics: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


class Task(Protocol):
    """One training objective: its networks, its data, its loss."""

    modules: dict[str, nn.Module]
    """Every network that a checkpoint holds, by name."""
    trainable: dict[str, list[str]]
    """Optimiser group to the names in `modules` that it updates."""
    inputs: dict[str, str]
    """What else the run depends on (data, frozen networks), described; a continued run must agree."""

    def batch(self, seed: int, place: Place, size: int) -> Batch:
        """The samples of one micro-batch on the CPU; a pure function of its arguments."""
        ...

    def step(self, batch: Batch, generator: torch.Generator, place: Place) -> StepOutput:
        """Forward pass and losses; all randomness from `generator`, which knows the seed and the place."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures on held-out data, with the weights that are in the modules now."""
        ...

    def export(self, directory: Path, metadata: dict[str, str]) -> None:
        """Write the finished networks in their released layout."""
        ...


@runtime_checkable
class HasParameterGroups(Protocol):
    """A task that trains its parameters at several rates, or not all of them."""

    def parameter_groups(self) -> dict[str, list[tuple[list[nn.Parameter], float]]]:
        """For groups in `trainable`, the parameters to update and the factor on their learning rate.

        A group that is not named here updates all parameters that require gradients, with factor 1.
        """
        ...


@runtime_checkable
class Closes(Protocol):
    """A task that has something to finish when a run ends, however it does."""

    def close(self) -> None:
        """Finish it."""
        ...


@runtime_checkable
class HasClips(Protocol):
    """A task whose model can be watched."""

    clips: ClipMaker | None
    """Makes clips with the weights that are in the modules; None where none were asked for."""


@runtime_checkable
class HasMeasures(Protocol):
    """A task that has more to tell of its weights than how far a step moved them."""

    def measures(self) -> dict[str, float]:
        """Numbers for the log, by name; asked for in the steps that are logged."""
        ...
