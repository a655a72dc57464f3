"""Which noise levels training sees."""

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
