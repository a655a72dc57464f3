"""Which noise levels and timesteps training sees."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ea_dit.diffusion.flow import shift_levels


@dataclass(frozen=True, kw_only=True)
class SigmaSampling:
    """Distribution of noise levels sigma in training.

    Attributes:
        density: "uniform", or "logit_normal": sigma = sigmoid(n), n normal (arXiv 2403.03206).
        mean: Of n; positive means more noise.
        std: Of n.
        shift: Factor by which `shift_levels` moves levels towards noise afterwards; 1 leaves them.
        stratified: One draw from each of B equal parts of the distribution instead of B independent ones.
    """

    density: Literal["uniform", "logit_normal"] = "uniform"
    mean: float = 0.0
    std: float = 1.0
    shift: float = 1.0
    stratified: bool = False

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        if self.density not in ("uniform", "logit_normal"):
            raise ValueError(f"density must be 'uniform' or 'logit_normal', got {self.density!r}")
        if self.shift <= 0 or self.std <= 0:
            raise ValueError(f"shift and std must be positive, got {self.shift} and {self.std}")

    def sample(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draws levels.

        Args:
            batch: How many.
            generator: A CPU generator.

        Returns:
            (batch,) float32 on the CPU, inside (0, 1).
        """
        u = torch.rand(batch, generator=generator, dtype=torch.float64)
        if self.stratified:
            order = torch.randperm(batch, generator=generator)
            u = (order + u) / batch
        u = u.clamp(1e-6, 1 - 1e-6)
        if self.density == "logit_normal":
            u = torch.sigmoid(self.mean + self.std * torch.special.ndtri(u))
        return shift_levels(u, self.shift).clamp(1e-5, 1 - 1e-5).float()


@dataclass(frozen=True, kw_only=True)
class TimestepSampling:
    """Distribution of the whole timesteps 0 ... N - 1 that training of a DDPM sees: uniform.

    Attributes:
        num_train_timesteps: N.
        stratified: One draw from each of B equal parts of the range instead of B independent ones.
        by_rank: With several processes, each draws from its own part of the range (`rank_range`).
    """

    num_train_timesteps: int = 1000
    stratified: bool = False
    by_rank: bool = False

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        if self.num_train_timesteps < 1:
            raise ValueError(f"num_train_timesteps must be at least 1, got {self.num_train_timesteps}")

    def sample(self, batch: int, generator: torch.Generator, *, rank: int = 0, world_size: int = 1) -> Tensor:
        """Draws timesteps.

        Args:
            batch: How many.
            generator: A CPU generator.
            rank: Of this process; only matters with `by_rank`.
            world_size: Number of processes.

        Returns:
            (batch,) int64 on the CPU.
        """
        count = self.num_train_timesteps
        low, high = rank_range(rank, world_size, count) if self.by_rank else (0, count)
        if not self.stratified:
            return torch.randint(low, high, (batch,), generator=generator)
        order = torch.randperm(batch, generator=generator)
        u = (order + torch.rand(batch, generator=generator, dtype=torch.float64)) / batch
        return (low + u * (high - low)).long().clamp(max=high - 1)


def rank_range(rank: int, world_size: int, count: int) -> tuple[int, int]:
    """Splits `count` timesteps between processes, as released ("uniform sampling").

    The processes form as many groups as divide both their number and `count`; each group draws from one of as
    many equal ranges.

    Returns:
        First timestep of the process's range, and the one after its last.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be at least 0 and below world_size {world_size}, got {rank}")
    size = next(
        size
        for size in range(1, world_size + 1)
        if world_size % size == 0 and count % (world_size // size) == 0
    )
    width = count // (world_size // size)
    group = rank // size
    return group * width, (group + 1) * width
