"""DDIM: Song et al. 2020 (arXiv 2010.02502)."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from ea_dit.diffusion.ddpm import DdpmSchedule
from ea_dit.diffusion.loop import Draw, Memory, drawn, kept_steps
from ea_dit.diffusion.prediction import Level, mix, noise_of, wide
from ea_dit.diffusion.solvers.base import GridSampler
from ea_dit.diffusion.solvers.grid import CLEAN, ddpm_level, spaced_timesteps, whole_grid
from ea_dit.diffusion.tables import Table, visited_whole


@dataclass(frozen=True)
class DdimSampler(GridSampler):
    """Deterministic steps of first order; with eta above 0, a share of ancestral noise.

    As released, a step from t goes to t - N // n, which is not always the next timestep of the table: with
    "trailing" spacing and n that does not divide N the two differ by rounding. Of given timesteps it goes to
    the next.

    Attributes:
        schedule: The process.
        num_steps: n.
        strength: Share of the steps, the last ones, that are run.
        eta: Times the standard deviation of the ancestral step (equation 16); 0 ... 1.
        table: Timesteps to visit instead of the schedule's.
    """

    schedule: DdpmSchedule
    num_steps: int
    strength: float = 1.0
    eta: float = 0.0
    table: Table = field(default=(), kw_only=True)
    next_levels: tuple[Level, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Makes the grid."""
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be between 0 and 1, got {self.eta}")
        schedule, kept = self.schedule, kept_steps(len(self.table) or self.num_steps, self.strength)
        falling, following = self._places()
        alpha_bars = schedule.alphas_cumprod.tolist()
        grid = whole_grid(schedule, falling, alpha_bars, clipped=schedule.clip_sample)
        object.__setattr__(self, "grid", grid.last(kept))
        end = CLEAN if schedule.set_alpha_to_one in (True, None) else ddpm_level(alpha_bars[0])
        object.__setattr__(
            self,
            "next_levels",
            tuple(ddpm_level(alpha_bars[t]) if t >= 0 else end for t in following[-kept:]),
        )

    def _places(self) -> tuple[list[int], list[int]]:
        """Timesteps that are visited, and to which each goes; the end is below 0."""
        schedule = self.schedule
        if self.table:
            falling = visited_whole(self.table, schedule.num_train_timesteps)
            return falling, [*falling[1:], -1]
        falling = [round(t) for t in spaced_timesteps(schedule, self.num_steps, "leading")]
        width = schedule.num_train_timesteps // self.num_steps
        return falling, [t - width for t in falling]

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
