"""Sampling from latent consistency models: Luo et al. 2023 (arXiv 2310.04378)."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ea_dit.diffusion.ddpm import DdpmSchedule
from ea_dit.diffusion.flow import FlowMatching
from ea_dit.diffusion.loop import Draw, Memory, drawn, kept_steps
from ea_dit.diffusion.prediction import Level, mix, wide
from ea_dit.diffusion.solvers.base import GridSampler
from ea_dit.diffusion.solvers.grid import CLEAN, NoiseGrid, flow_grid, whole_grid
from ea_dit.diffusion.tables import Table, visited_whole

SIGMA_DATA = 0.5
FLOW_ORIGINAL_STEPS = 50
"""Steps of the grid that flow models are distilled on; their configs have no key for it."""
FLOW_TIMESTEP_SCALING = 10.0


def boundary_level(timestep: float | Tensor, scaling: float) -> Level:
    """Weights of the estimate and of the input that make a model exact at timestep 0.

    Args:
        timestep: The network's, 0 ... N - 1, or one per sample in a shape that broadcasts.
        scaling: Of timesteps; the larger, the sooner the estimate counts alone.
    """
    time = timestep * scaling
    total = time**2 + SIGMA_DATA**2
    return Level(time / total**0.5, SIGMA_DATA**2 / total)


@dataclass(frozen=True)
class LcmSampler(GridSampler):
    """Jumps to clean latents and adds fresh noise of the next level, drawn in every step but the last.

    The timesteps are taken from the grid of `original_inference_steps` that the model was distilled on.

    Attributes:
        schedule: The process.
        num_steps: Model calls, whatever the strength.
        strength: Share of the original grid, its low end, that the calls are spread over.
        table: Timesteps to visit instead; of them strength is the share that is run.
    """

    schedule: DdpmSchedule
    num_steps: int
    strength: float = 1.0
    table: Table = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Makes the grid."""
        schedule = self.schedule
        if self.table:
            whole = visited_whole(self.table, schedule.num_train_timesteps)
            falling = whole[-kept_steps(len(whole), self.strength) :]
        else:
            falling = self._spread()
        alpha_bars = schedule.alphas_cumprod.tolist()
        grid = whole_grid(schedule, falling, alpha_bars, clipped=schedule.clip_sample)
        object.__setattr__(self, "grid", grid)

    def _spread(self) -> list[int]:
        """Timesteps of the grid that the model was distilled on, falling."""
        schedule, count = self.schedule, self.schedule.original_inference_steps
        if count > schedule.num_train_timesteps:
            raise ValueError(
                f"original_inference_steps must be at most num_train_timesteps, got {count} and "
                f"{schedule.num_train_timesteps}"
            )
        width = schedule.num_train_timesteps // count
        return [width * (place + 1) - 1 for place in _places(count, self.num_steps, self.strength)]

    def step(
        self, index: int, latents: Tensor, prediction: Tensor, memory: Memory, draw: Draw | None = None
    ) -> tuple[Tensor, Memory]:
        """Returns the latents after step `index`."""
        scaling = self.schedule.timestep_scaling
        return _jump(self.grid, scaling, index, latents, prediction, draw), memory


@dataclass(frozen=True)
class FlowLcmSampler(GridSampler):
    """The same for a flow that was distilled, on the grid of its own schedule.

    Attributes:
        flow: The process.
        num_steps: Model calls, whatever the strength.
        strength: Share of the original grid, its low end, that the calls are spread over.
        original_steps: Steps of the grid that the model was distilled on.
        timestep_scaling: Of the boundary condition.
        table: Timesteps to visit instead; of them strength is the share that is run.
    """

    flow: FlowMatching
    num_steps: int
    strength: float = 1.0
    original_steps: int = FLOW_ORIGINAL_STEPS
    timestep_scaling: float = FLOW_TIMESTEP_SCALING
    table: Table = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Makes the grid."""
        if self.table:
            grid = flow_grid(self.flow, len(self.table), self.strength, self.table)
            object.__setattr__(self, "grid", grid)
            return
        places = _places(self.original_steps, self.num_steps, self.strength)
        rising = self.flow.sigmas(self.original_steps).flip(0)[1:]
        sigmas = rising[torch.tensor(places)]
        levels = (*(Level(1 - sigma, sigma) for sigma in sigmas.tolist()), CLEAN)
        object.__setattr__(self, "grid", NoiseGrid(self.flow.timesteps(sigmas), levels, "flow"))

    def step(
        self, index: int, latents: Tensor, prediction: Tensor, memory: Memory, draw: Draw | None = None
    ) -> tuple[Tensor, Memory]:
        """Returns the latents after step `index`."""
        return _jump(self.grid, self.timestep_scaling, index, latents, prediction, draw), memory


def _places(count: int, num_steps: int, strength: float) -> list[int]:
    """Which of `count` levels, numbered from the cleanest, are visited: falling."""
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be above 0 and at most 1, got {strength}")
    used = int(count * strength)
    if not 1 <= num_steps <= used:
        raise ValueError(
            f"num_steps must be between 1 and original_inference_steps x strength = {used}, got {num_steps}"
        )
    return [used - 1 - step * used // num_steps for step in range(num_steps)]


def _jump(
    grid: NoiseGrid, scaling: float, index: int, latents: Tensor, prediction: Tensor, draw: Draw | None
) -> Tensor:
    """To the clean latents that call `index` tells, and back to the next level with fresh noise."""
    x = wide(latents)
    clean = mix(grid.clean(index, x, prediction), x, boundary_level(float(grid.timesteps[index]), scaling))
    if index + 1 < len(grid):
        clean = mix(clean, drawn(draw, x), grid.levels[index + 1])
    return clean.to(prediction.dtype)
