"""DDIM: Song et al. 2020 (arXiv 2010.02502)."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from ea_dit.diffusion.ddpm import DdpmSchedule
from ea_dit.diffusion.loop import Draw, Memory, drawn, kept_steps
from ea_dit.diffusion.prediction import Level, mix, noise_of, wide
from ea_dit.diffusion.solvers.base import GridSampler
from ea_dit.diffusion.solvers.grid import CLEAN, ddpm_level, spaced_timesteps, whole_grid


@dataclass(frozen=True)
class DdimSampler(GridSampler):
    """Deterministic steps of first order; with eta above 0, a share of ancestral noise.

    As released, a step from t goes to t - N // n, which is not always the next timestep of the table: with
    "trailing" spacing and n that does not divide N the two differ by rounding.

    Attributes:
        schedule: The process.
        num_steps: n.
        strength: Share of the steps, the last ones, that are run.
        eta: Times the standard deviation of the ancestral step (equation 16); 0 ... 1.
    """

    schedule: DdpmSchedule
    num_steps: int
    strength: float = 1.0
    eta: float = 0.0
    next_levels: tuple[Level, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Makes the grid."""
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be between 0 and 1, got {self.eta}")
        schedule, kept = self.schedule, kept_steps(self.num_steps, self.strength)
        falling = [round(t) for t in spaced_timesteps(schedule, self.num_steps, "leading")]
        alpha_bars = schedule.alphas_cumprod.tolist()
        grid = whole_grid(schedule, falling, alpha_bars, clipped=schedule.clip_sample)
        object.__setattr__(self, "grid", grid.last(kept))
        width = schedule.num_train_timesteps // self.num_steps
        end = CLEAN if schedule.set_alpha_to_one in (True, None) else ddpm_level(alpha_bars[0])
        object.__setattr__(
            self,
            "next_levels",
            tuple(ddpm_level(alpha_bars[t - width]) if t >= width else end for t in falling[-kept:]),
        )

    def step(
        self, index: int, latents: Tensor, prediction: Tensor, memory: Memory, draw: Draw | None = None
    ) -> tuple[Tensor, Memory]:
        """Returns the latents after step `index`; noise is drawn if eta is above 0."""
        here, there = self.grid.levels[index], self.next_levels[index]
        x, output = wide(latents), wide(prediction)
        clean = self.grid.clean(index, x, output)
        noise = noise_of(output, x, here, self.grid.kind)
        if self.eta == 0:
            return mix(clean, noise, there).to(prediction.dtype), memory
        spread = self.eta * _ancestral_deviation(here, there)
        kept = Level(there.alpha, math.sqrt(max(float(there.sigma) ** 2 - spread**2, 0.0)))
        return (mix(clean, noise, kept) + spread * drawn(draw, x)).to(prediction.dtype), memory


def _ancestral_deviation(here: Level, there: Level) -> float:
    """Standard deviation of x(there) given x(here) and the clean latents (DDPM, arXiv 2006.11239)."""
    ratio = float(here.alpha) ** 2 / float(there.alpha) ** 2
    return math.sqrt(float(there.sigma) ** 2 / float(here.sigma) ** 2 * (1 - ratio))
