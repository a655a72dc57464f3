"""What one training run is: task settings, data, optimiser, loop."""

from dataclasses import dataclass, field
from typing import Literal

MAX_SEED = 1 << 20
"""Tasks draw from seeds that share 64 bits with the number of the micro-batch, so they are bounded."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Optimiser and schedule of one parameter group.

    Attributes:
        kind: `adamw`, or `muon` for the hidden matrices with `adamw` for everything else.
        lr: Peak learning rate.
        lr_by_fan_in: Where positive, a weight's peak rate is min(lr, lr_by_fan_in / fan_in): wide 3-D
            convolutions sum thousands of inputs, and one rate for all of them keeps a freshly started
            autoencoder from learning.
        muon_lr: Peak learning rate of the matrices under `muon`.
        muon_excludes: Names of layers that `muon` leaves to AdamW. Those that turn the timestep into scales
            and shifts hold half of a small transformer's weights and would take as much time as the others.
        betas: AdamW moments, two numbers in [0, 1).
        weight_decay: Decoupled decay.
        warmup_steps: Linear warm-up.
        decay: Shape after warm-up: `constant`, `cosine` to zero, or `linear` to zero over the last
            `decay_fraction`.
        decay_fraction: Part of the run in which `linear` falls.
        max_grad_norm: Global norm to clip at; 0 switches clipping off.
    """

    kind: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3
    lr_by_fan_in: float = 0.0
    muon_lr: float = 1e-2
    muon_excludes: tuple[str, ...] = ("modulation",)
    betas: tuple[float, ...] = (0.9, 0.99)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    decay: Literal["constant", "cosine", "linear"] = "cosine"
    decay_fraction: float = 0.3
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        """Refuse rates that cannot be meant."""
        _at_least(self, "optim", 0, "lr", "lr_by_fan_in", "muon_lr", "weight_decay", "warmup_steps")
        _at_least(self, "optim", 0, "max_grad_norm", "decay_fraction")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optim.betas must be two numbers in [0, 1), got {self.betas}")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long, how precise, how often.

    Attributes:
        steps: Optimiser steps of the whole run; the schedule is laid out over them.
        batch_size: Samples per micro-batch of one process.
        grad_accum: Micro-batches per step, at most 256.
        seed: Every batch and every noise draw is a function of it and the number of the micro-batch.
        precision: `bf16` runs the forward pass under autocast, weights stay float32.
        ema_decay: Final decay of the averaged weights; 0 keeps none.
        log_every: Steps between lines in the log.
        validate_every: Steps between validations; 0 only at the end.
        checkpoint_minutes: Wall-clock minutes between checkpoints.
        keep_checkpoints: Older ones are removed.
        num_workers: Processes that make batches; 0 makes them in the training process.
        compile: Run the task's networks through torch.compile.
    """

    steps: int = 1000
    batch_size: int = 16
    grad_accum: int = 1
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    ema_decay: float = 0.999
    log_every: int = 20
    validate_every: int = 0
    checkpoint_minutes: float = 5.0
    keep_checkpoints: int = 2
    num_workers: int = 0
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuse a run that cannot start."""
        _at_least(self, "loop", 1, "steps", "batch_size", "grad_accum", "log_every", "keep_checkpoints")
        _at_least(self, "loop", 0, "seed", "validate_every", "checkpoint_minutes", "num_workers")
        if self.seed >= MAX_SEED:
            raise ValueError(f"loop.seed must be below {MAX_SEED}, got {self.seed}")
        if self.grad_accum > 256:
            raise ValueError(f"loop.grad_accum must be at most 256, got {self.grad_accum}")
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"loop.ema_decay must be in [0, 1), got {self.ema_decay}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The parts every run shares; a recipe adds its task."""

    loop: LoopConfig = field(default_factory=LoopConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)


def _at_least(config: object, group: str, lowest: int, *names: str) -> None:
    for name in names:
        if getattr(config, name) < lowest:
            raise ValueError(f"{group}.{name} must be at least {lowest}, got {getattr(config, name)}")
