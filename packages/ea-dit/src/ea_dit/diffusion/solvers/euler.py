"""Euler steps on x / alpha, whose noise level is k = sigma / alpha: Karras et al. 2022 (arXiv 2206.00364).

Here the latents of a run are clean + k noise; the network gets them divided by sqrt(k^2 + 1).
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ea_dit.diffusion.ddpm import DdpmSchedule
from ea_dit.diffusion.loop import Draw, Memory, drawn, kept_steps
from ea_dit.diffusion.prediction import Level, wide
from ea_dit.diffusion.solvers.grid import CLEAN, NoiseGrid, nonzero_alpha_bars, spaced_timesteps
from ea_dit.diffusion.tables import Table, visited


@dataclass(frozen=True)
class EulerSampler:
    """First order; the ancestral kind replaces a share of the noise in every step.

    Attributes:
        schedule: The process.
        num_steps: Steps of the full schedule. "linspace" visits fractions; their k is interpolated.
        strength: Share of the steps, the last ones, that are run.
        ancestral: Whether noise is replaced. It is drawn in the last step too, where it counts nothing:
            released programs do, and so the draws of a seed stay in place.
        table: Timesteps to visit instead of the schedule's; fractions are fine.
    """

    schedule: DdpmSchedule
    num_steps: int
    strength: float = 1.0
    ancestral: bool = field(default=False, kw_only=True)
    table: Table = field(default=(), kw_only=True)
    grid: NoiseGrid = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Makes the grid."""
        schedule = self.schedule
        ratios = [math.sqrt((1 - kept) / kept) for kept in nonzero_alpha_bars(schedule)]
        if self.table:
            falling = visited(self.table, schedule.num_train_timesteps)
        else:
            falling = spaced_timesteps(schedule, self.num_steps, "linspace")
        levels = (*(_level(_between(ratios, t)) for t in falling), CLEAN)
        grid = NoiseGrid(torch.tensor(falling, dtype=torch.float32), levels, schedule.prediction_type)
        kept = kept_steps(len(falling), self.strength)
        object.__setattr__(self, "grid", grid.last(kept))

    @property
    def timesteps(self) -> Tensor:
        """The network's timestep of every step that is run."""
        return self.grid.timesteps

    @property
    def sigmas(self) -> tuple[float, ...]:
        """k of every level, the last 0."""
        return tuple(float(level.sigma) / float(level.alpha) for level in self.grid.levels)

    def start(self, noise: Tensor, clean: Tensor | None = None) -> Tensor:
        """Returns scaled noise, or a clean video noised to the first level.

        Noise is multiplied by k, with "leading" spacing by sqrt(k^2 + 1).
        """
        first = self.sigmas[0]
        if clean is not None:
            return (wide(clean) + first * wide(noise)).to(clean.dtype)
        if self.schedule.timestep_spacing == "leading":
            first = math.sqrt(first**2 + 1)
        return (first * wide(noise)).to(noise.dtype)

    def model_input(self, index: int, latents: Tensor) -> Tensor:
        """Returns latents / sqrt(k^2 + 1), which is alpha times them."""
        return (wide(latents) * self.grid.levels[index].alpha).to(latents.dtype)

    def clean(self, index: int, latents: Tensor, prediction: Tensor) -> Tensor:
        """Returns the clean latents that a prediction at call `index` amounts to."""
        return self.grid.clean(index, wide(latents) * self.grid.levels[index].alpha, prediction)

    def step(
        self, index: int, latents: Tensor, prediction: Tensor, memory: Memory, draw: Draw | None = None
    ) -> tuple[Tensor, Memory]:
        """Returns the latents after step `index`; noise is drawn if the sampler is ancestral."""
        x = wide(latents)
        clean = self.clean(index, x, prediction)
        here, there = self.sigmas[index], self.sigmas[index + 1]
        if not self.ancestral:
            return (clean + (there / here) * (x - clean)).to(prediction.dtype), memory
        fresh = there * math.sqrt(here**2 - there**2) / here
        kept = math.sqrt(there**2 - fresh**2)
        moved = clean + (kept / here) * (x - clean) + fresh * drawn(draw, x)
        return moved.to(prediction.dtype), memory


def _level(ratio: float) -> Level:
    alpha = 1 / math.sqrt(ratio**2 + 1)
    return Level(alpha, ratio * alpha)


def _between(values: list[float], place: float) -> float:
    """Linear interpolation at a fractional index."""
    low = min(int(place), len(values) - 2)
    share = place - low
    return (1 - share) * values[low] + share * values[low + 1]
