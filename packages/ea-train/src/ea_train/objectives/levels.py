"""Which places of a schedule training draws."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ea_dit.diffusion.flow_training import logit_normal_positions, mode_positions
from ea_dit.diffusion.timesteps import rank_range

Density = Literal["uniform", "logit_normal", "mode", "speed"]
Spread = Literal["none", "batch", "ranks", "both"]

_EDGE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The processes that train together.

    Attributes:
        rank: Of this one.
        world_size: Their number.
    """

    rank: int = 0
    world_size: int = 1


@dataclass(frozen=True, kw_only=True)
class LevelConfig:
    """Density of positions u in [0, 1).

    For a flow u = 0 is pure noise, as released; for the other losses u = 0 is the clean end.

    Attributes:
        density: "uniform"; "logit_normal"; "mode", more of them in the middle; or "speed", the steps where
            the noise level changes fast (only for the losses with a variance, Open-Sora's `iddpm-speed`).
        mean: Of "logit_normal".
        std: Of "logit_normal".
        mode_scale: Of "mode".
        spread: Draws alone ("none"), one from each of B equal parts ("batch"), each process its own part
            ("ranks", released as uniform sampling), or both. With "ranks" a result depends on the number of
            processes.
    """

    density: Density = "uniform"
    mean: float = 0.0
    std: float = 1.0
    mode_scale: float = 1.29
    spread: Spread = "none"

    def __post_init__(self) -> None:
        """Refuse what is no density."""
        if self.std <= 0:
            raise ValueError(f"objective.levels.std must be above 0, got {self.std}")


def draw_positions(
    config: LevelConfig, batch: int, generator: torch.Generator, ranks: Ranks, *, count: int = 1000
) -> Tensor:
    """Draw places of a schedule.

    Args:
        config: How.
        batch: How many.
        generator: A CPU generator.
        ranks: Which processes the schedule is divided among.
        count: Timesteps of the schedule, which decides in how many parts it can be divided.

    Returns:
        (batch,) float64 on the CPU in [0, 1).
    """
    u = torch.rand(batch, generator=generator, dtype=torch.float64)
    if config.spread in ("batch", "both"):
        u = (torch.randperm(batch, generator=generator) + u) / batch
    if config.spread in ("ranks", "both"):
        low, high = rank_range(ranks.rank, ranks.world_size, count)
        u = (low + u * (high - low)) / count
    return shaped(config, u)


def shaped(config: LevelConfig, u: Tensor) -> Tensor:
    """Turn uniform draws into draws of the density."""
    if config.density == "logit_normal":
        normal = torch.special.ndtri(u.clamp(_EDGE, 1 - _EDGE))
        u = logit_normal_positions(normal, mean=config.mean, std=config.std)
    elif config.density == "mode":
        u = mode_positions(u, config.mode_scale)
    return u.clamp(0, 1 - _EDGE)


def timesteps_of(u: Tensor, count: int) -> Tensor:
    """Whole timesteps 0 ... count - 1 of positions."""
    return (u * count).long().clamp(max=count - 1)


def require_share(name: str, value: float) -> None:
    """Refuse what is no share.

    Raises:
        ValueError: The value lies outside 0 ... 1.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1, got {value}")
