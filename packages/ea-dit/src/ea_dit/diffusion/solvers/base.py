"""What samplers share that walk over a `NoiseGrid` with the latents of its process."""

from dataclasses import dataclass, field

from torch import Tensor

from ea_dit.diffusion.solvers.grid import NoiseGrid


@dataclass(frozen=True)
class GridSampler:
    """Starts at the grid's first level and shows the network the latents as they are; a solver adds the step.

    Attributes:
        grid: Timesteps and levels. A solver makes it, or redeclares it to be given it.
    """

    grid: NoiseGrid = field(init=False, repr=False, compare=False)

    @property
    def timesteps(self) -> Tensor:
        """The network's timestep of every step that is run."""
        return self.grid.timesteps

    def start(self, noise: Tensor, clean: Tensor | None = None) -> Tensor:
        """Returns noise, or a clean video noised to the first level."""
        return self.grid.start(noise, clean)

    def model_input(self, index: int, latents: Tensor) -> Tensor:
        """Returns the latents as they are."""
        del index
        return latents

    def clean(self, index: int, latents: Tensor, prediction: Tensor) -> Tensor:
        """Returns the clean latents that a prediction at call `index` amounts to."""
        return self.grid.clean(index, latents, prediction)
