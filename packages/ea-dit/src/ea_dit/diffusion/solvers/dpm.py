"""DPM-Solver++, multistep with midpoint: Lu et al. 2022 (arXiv 2211.01095), with and without noise."""

import math
from dataclasses import dataclass

from torch import Tensor

from ea_dit.diffusion.loop import Draw, Memory, drawn
from ea_dit.diffusion.prediction import wide
from ea_dit.diffusion.solvers.base import GridSampler
from ea_dit.diffusion.solvers.grid import NoiseGrid


@dataclass(frozen=True)
class DpmSolverSampler(GridSampler):
    """Second order in log(alpha / sigma); the first step, and by default the last, are first order.

    Attributes:
        grid: Timesteps and levels, of a DDPM or a flow.
        order: 1 or 2.
        stochastic: Solve the reverse SDE instead of the ODE; noise is drawn in every step, the last included,
            where it counts nothing.
        lower_order_final: Whether the last step is first order, as one that ends at clean latents must be.
    """

    grid: NoiseGrid
    order: int = 2
    stochastic: bool = False
    lower_order_final: bool = True

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        if self.order not in (1, 2):
            raise ValueError(f"order must be 1 or 2, got {self.order}")
        if not self.lower_order_final and float(self.grid.levels[-1].sigma) == 0:
            raise ValueError("lower_order_final must be on where the last level is clean")

    def step(
        self, index: int, latents: Tensor, prediction: Tensor, memory: Memory, draw: Draw | None = None
    ) -> tuple[Tensor, Memory]:
        """Returns the latents after step `index`; noise is drawn if the sampler is stochastic."""
        x = wide(latents)
        clean = self.grid.clean(index, x, prediction)
        here, there = self.grid.levels[index], self.grid.levels[index + 1]
        ratios = self.grid.log_ratios
        width = ratios[index + 1] - ratios[index]
        estimate = clean
        lowered = self.lower_order_final and index + 1 == len(self.grid)
        if self.order == 2 and memory.outputs and not lowered:
            before = ratios[index] - ratios[index - 1]
            estimate = clean + (clean - memory.outputs[-1]) * (width / (2 * before))
        decay = float(there.sigma) / float(here.sigma)
        if not self.stochastic:
            moved = decay * x - float(there.alpha) * math.expm1(-width) * estimate
        else:
            forgotten = -math.expm1(-2 * width)
            moved = decay * math.exp(-width) * x + float(there.alpha) * forgotten * estimate
            moved = moved + float(there.sigma) * math.sqrt(forgotten) * drawn(draw, x)
        return moved.to(prediction.dtype), Memory(outputs=(clean,))
