"""What one training run is: task settings, data, optimiser, loop."""

from dataclasses import dataclass, field
from typing import Literal

MAX_SEED = 1 << 20
"""Tasks draw from seeds that share 64 bits with the number of the micro-batch, so they are bounded."""


TRACKERS = ("tensorboard", "wandb")

SchedulerName = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"
]


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Optimiser and schedule of one parameter group.

    Attributes:
        kind: `adamw`; `adamw8bit`, the same with moments of eight bits (needs bitsandbytes); `came`, whose
            moments are those of rows and columns (needs came-pytorch); or `muon` for the hidden matrices with
            `adamw` for everything else.
        lr: Peak learning rate.
        lr_by_fan_in: Where positive, a weight's peak rate is min(lr, lr_by_fan_in / fan_in): wide 3-D
            convolutions sum thousands of inputs, and one rate for all of them keeps a freshly started
            autoencoder from learning.
        muon_lr: Peak learning rate of the matrices under `muon`.
        muon_excludes: Names of layers that `muon` leaves to AdamW. Those that turn the timestep into scales
            and shifts hold half of a small transformer's weights and would take as much time as the others.
        betas: AdamW moments, two numbers in [0, 1).
        eps: Added to the root of AdamW's second moment.
        weight_decay: Decoupled decay.
        decay_vectors: Also decay biases, norms and other parameters with fewer than two axes.
        warmup_steps: Linear warm-up.
        decay: Shape after warm-up: `constant`, `cosine` to zero, or `linear` to zero over the last
            `decay_fraction`.
        decay_fraction: Part of the run in which `linear` falls.
        lr_scheduler: Where given, the schedule that transformers knows by this name, instead of `decay`: its
            warm-up begins with a rate of 0, and what falls does so after it.
        lr_cycles: Of `cosine_with_restarts`.
        lr_power: Of `polynomial`.
        max_grad_norm: Global norm to clip at; 0 switches clipping off.
        clipping: `norm`, or `abnormal` for the rule of the released trainers: a limit that falls from
            `initial_grad_norm_ratio` times `max_grad_norm` to that by step `abnormal_norm_clip_start`, and
            becomes up to ten times smaller for norms far above it later.
        abnormal_norm_clip_start: Step at which `abnormal` has reached `max_grad_norm`.
        initial_grad_norm_ratio: Where it begins.
    """

    kind: Literal["adamw", "adamw8bit", "came", "muon"] = "adamw"
    lr: float = 1e-3
    lr_by_fan_in: float = 0.0
    muon_lr: float = 1e-2
    muon_excludes: tuple[str, ...] = ("modulation",)
    betas: tuple[float, ...] = (0.9, 0.99)
    eps: float = 1e-8
    weight_decay: float = 0.01
    decay_vectors: bool = False
    warmup_steps: int = 100
    decay: Literal["constant", "cosine", "linear"] = "cosine"
    decay_fraction: float = 0.3
    lr_scheduler: SchedulerName | None = None
    lr_cycles: int = 1
    lr_power: float = 1.0
    max_grad_norm: float = 1.0
    clipping: Literal["norm", "abnormal"] = "norm"
    abnormal_norm_clip_start: int = 1000
    initial_grad_norm_ratio: float = 5.0

    def __post_init__(self) -> None:
        """Refuse rates that cannot be meant."""
        _at_least(self, "optim", 0, "lr", "lr_by_fan_in", "muon_lr", "weight_decay", "warmup_steps")
        _at_least(self, "optim", 0, "max_grad_norm", "decay_fraction", "eps", "abnormal_norm_clip_start")
        _at_least(self, "optim", 1, "lr_cycles", "initial_grad_norm_ratio")
        if self.lr_power <= 0:
            raise ValueError(f"optim.lr_power must be above 0, got {self.lr_power}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"optim.betas must be two numbers in [0, 1), got {self.betas}")


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long, how precise, how often.

    Attributes:
        steps: Optimiser steps of the whole run; the schedule is laid out over them.
        batch_size: Samples per micro-batch of one process.
        grad_accum: Micro-batches of one process per step.
        seed: Every batch and every noise draw is a function of it and the number of the micro-batch.
        precision: `bf16` runs the forward pass under autocast, weights stay float32.
        ema_decay: Final decay of the averaged weights; 0 keeps none.
        log_every: Steps between lines in the log.
        validate_every: Steps between validations; 0 only at the end.
        checkpoint_minutes: Wall-clock minutes between checkpoints.
        checkpoint_every: Steps between checkpoints, besides the minutes; 0 goes by the minutes alone.
        keep_checkpoints: Older ones are removed.
        export_checkpoints: Put the averaged weights in their released layout beside each, as `export`.
        num_workers: Processes that make batches; 0 makes the next one in a thread of the training process.
        compile: Run the task's networks through torch.compile.
        sharding: `fsdp2` spreads weights, gradients and optimiser states over the processes of a run, so that
            each needs a fraction of the memory; `none` keeps all of them on each.
        trackers: Where the log goes beside the console and `log.jsonl`: "tensorboard", "wandb".
        tracker_project: Project of W&B.
        norms: Gradient norms in the log: `total`, or also those of `blocks`.
        allow_tf32: Let GPUs round the factors of float32 products to 10 bits.
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
    checkpoint_every: int = 0
    keep_checkpoints: int = 2
    export_checkpoints: bool = False
    num_workers: int = 0
    compile: bool = False
    sharding: Literal["none", "fsdp2"] = "none"
    trackers: tuple[str, ...] = ("tensorboard",)
    tracker_project: str = "ea-train"
    norms: Literal["total", "blocks"] = "total"
    allow_tf32: bool = False

    def __post_init__(self) -> None:
        """Refuse a run that cannot start."""
        _at_least(self, "loop", 1, "steps", "batch_size", "grad_accum", "log_every", "keep_checkpoints")
        _at_least(self, "loop", 0, "seed", "validate_every", "checkpoint_minutes", "num_workers")
        _at_least(self, "loop", 0, "checkpoint_every")
        if self.seed >= MAX_SEED:
            raise ValueError(f"loop.seed must be below {MAX_SEED}, got {self.seed}")
        for name in self.trackers:
            if name not in TRACKERS:
                raise ValueError(f"loop.trackers must be some of {', '.join(TRACKERS)}, got {name!r}")
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
