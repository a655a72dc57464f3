"""Sampling from latent consistency models: Luo et al. 2023 (arXiv 2310.04378)."""

from dataclasses import dataclass

from torch import Tensor

from ea_dit.diffusion.ddpm import DdpmSchedule
from ea_dit.diffusion.loop import Draw, Memory, drawn
from ea_dit.diffusion.prediction import Level, mix, wide
from ea_dit.diffusion.solvers.base import GridSampler
from ea_dit.diffusion.solvers.grid import whole_grid

SIGMA_DATA = 0.5


@dataclass(frozen=True)
class LcmSampler(GridSampler):
    """Jumps to clean latents and adds fresh noise of the next level, drawn in every step but the last.

    The timesteps are taken from the grid of `original_inference_steps` that the model was distilled on.

    Attributes:
        schedule: The process.
        num_steps: Model calls, whatever the strength.
        strength: Share of the original grid, its low end, that the calls are spread over.
    """

    schedule: DdpmSchedule
    num_steps: int
    strength: float = 1.0

    def __post_init__(self) -> None:
        """Makes the grid."""
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength must be above 0 and at most 1, got {self.strength}")
        schedule, count = self.schedule, self.schedule.original_inference_steps
        if count > schedule.num_train_timesteps:
            raise ValueError(
                f"original_inference_steps must be at most num_train_timesteps, got {count} and "
                f"{schedule.num_train_timesteps}"
            )
        width, used = schedule.num_train_timesteps // count, int(count * self.strength)
        if not 1 <= self.num_steps <= used:
            raise ValueError(
                f"num_steps must be between 1 and original_inference_steps x strength = {used}, "
                f"got {self.num_steps}"
            )
        original = [width * (place + 1) - 1 for place in range(used)][::-1]
        falling = [original[step * used // self.num_steps] for step in range(self.num_steps)]
        alpha_bars = schedule.alphas_cumprod.tolist()
        grid = whole_grid(schedule, falling, alpha_bars, clipped=schedule.clip_sample)
        object.__setattr__(self, "grid", grid)

    def step(
        self, index: int, latents: Tensor, prediction: Tensor, memory: Memory, draw: Draw | None = None
    ) -> tuple[Tensor, Memory]:
        """Returns the latents after step `index`."""
        x = wide(latents)
        boundary = self._boundary(int(self.grid.timesteps[index]))
        clean = mix(self.grid.clean(index, x, prediction), x, boundary)
        if index + 1 < len(self.grid):
            clean = mix(clean, drawn(draw, x), self.grid.levels[index + 1])
        return clean.to(prediction.dtype), memory

    def _boundary(self, timestep: int) -> Level:
        """Weights of the estimate and of the input that make the model exact at timestep 0."""
        time = timestep * self.schedule.timestep_scaling
        total = time**2 + SIGMA_DATA**2
        return Level(time / total**0.5, SIGMA_DATA**2 / total)
