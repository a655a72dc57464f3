"""UniPC: a predictor and a corrector that share their model call. Zhao et al. 2023 (arXiv 2302.04867).

The variant is the one that is in use: clean-latent prediction, B(h) = exp(h) - 1, order up to 2.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from ea_dit.diffusion.loop import Draw, Memory
from ea_dit.diffusion.prediction import wide
from ea_dit.diffusion.solvers.base import GridSampler
from ea_dit.diffusion.solvers.grid import NoiseGrid


@dataclass(frozen=True)
class UniPcSampler(GridSampler):
    """Predictor of order p, corrected when the next prediction is known; the last step is first order.

    Attributes:
        grid: Timesteps and levels, of a DDPM or a flow.
        order: p, 1 or 2.
    """

    grid: NoiseGrid
    order: int = 2

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        if self.order not in (1, 2):
            raise ValueError(f"order must be 1 or 2, got {self.order}")

    def step(
        self, index: int, latents: Tensor, prediction: Tensor, memory: Memory, draw: Draw | None = None
    ) -> tuple[Tensor, Memory]:
        """Returns the latents after step `index`: the last step corrected, then a new one predicted."""
        del draw
        x = wide(latents)
        clean = self.grid.clean(index, x, prediction)
        if memory.base is not None:
            x = self._correct(index - 1, memory.base, memory.outputs, clean)
        outputs = (*memory.outputs, clean)[-2:]
        moved = self._predict(index, x, outputs)
        return moved.to(prediction.dtype), Memory(outputs=outputs, base=x)

    def _order(self, index: int) -> int:
        """Order of the step from level `index`: as many estimates as are known, and steps that are left."""
        return min(self.order, index + 1, len(self.grid) - index)

    def _predict(self, index: int, x: Tensor, outputs: tuple[Tensor, ...]) -> Tensor:
        newest = outputs[-1]
        estimate = newest
        if self._order(index) == 2:
            estimate = newest + 0.5 * (outputs[-2] - newest) / self._place_before(index)
        return self._move(index, x, estimate)

    def _correct(self, index: int, x: Tensor, outputs: tuple[Tensor, ...], after: Tensor) -> Tensor:
        """The step from level `index` again, knowing the estimate at its end."""
        newest = outputs[-1]
        if self._order(index) == 1:
            return self._move(index, x, newest + 0.5 * (after - newest))
        place = self._place_before(index)
        first, second = self._moments(index)
        # Weights of the differences at `place` and at 1 that are exact for estimates linear and quadratic in
        # log(alpha / sigma).
        weight_before = (second - first) / (place - 1)
        weight_after = first - weight_before
        trend = weight_before * (outputs[-2] - newest) / place + weight_after * (after - newest)
        return self._move(index, x, newest + trend)

    def _move(self, index: int, x: Tensor, estimate: Tensor) -> Tensor:
        """The exact step for an estimate of the clean latents that stays as it is."""
        here, there = self.grid.levels[index], self.grid.levels[index + 1]
        decay = float(there.sigma) / float(here.sigma)
        return decay * x - float(there.alpha) * math.expm1(-self._width(index)) * estimate

    def _width(self, index: int) -> float:
        ratios = self.grid.log_ratios
        return ratios[index + 1] - ratios[index]

    def _place_before(self, index: int) -> float:
        """Where the estimate before lies, in units of the step from level `index`; negative."""
        return -self._width(index - 1) / self._width(index)

    def _moments(self, index: int) -> tuple[float, float]:
        """The means of u and u^2 over a step, u from 0 to 1, with the weights of the exact step.

        These are k! phi_{k+1}(-h) / phi_1(-h) for k = 1, 2.
        """
        width = -self._width(index)
        phi_1 = math.expm1(width) / width
        phi_2 = (phi_1 - 1) / width
        phi_3 = (phi_2 - 0.5) / width
        return phi_2 / phi_1, 2 * phi_3 / phi_1
