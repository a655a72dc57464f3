"""Rectified flow: x(sigma) = (1 - sigma) clean + sigma noise, and the network predicts noise - clean.

Source: Lipman et al. 2022 (arXiv 2210.02747), Esser et al. 2024 (arXiv 2403.03206); the numbers are those of
the scheduler config that EasyAnimate V5.1 was released with. B batch.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import torch
from torch import Tensor

from ea_dit.config_values import WRITER_KEYS, require_finite, require_switch, require_whole
from ea_dit.diffusion.loop import Draw, Memory, kept_steps
from ea_dit.diffusion.tables import Table, flow_levels
from ea_kernels.runtime.hints import known_names

CLASS_NAME = "FlowMatchEulerDiscreteScheduler"

# Keys that decide nothing here, and what callers compute mu from.
INERT_KEYS = WRITER_KEYS | {
    "base_image_seq_len",
    "base_shift",
    "max_image_seq_len",
    "max_shift",
}
# The only values that released files have for them.
_FIXED: Mapping[str, Any] = {
    "invert_sigmas": False,
    "shift_terminal": None,
    "stochastic_sampling": False,
    "time_shift_type": "exponential",
    "use_beta_sigmas": False,
    "use_exponential_sigmas": False,
    "use_karras_sigmas": False,
}

# exp(mu) moves the levels; beyond this they are all 0 or 1.
_LARGEST_MU = 50


def shift_levels(sigma: Tensor, factor: float) -> Tensor:
    """Moves noise levels towards 1: s sigma / (1 + (s - 1) sigma) (arXiv 2403.03206)."""
    return factor * sigma / (1 + (factor - 1) * sigma)


def resolution_mu(
    tokens: int,
    *,
    tokens_range: tuple[int, int] = (256, 4096),
    mu_range: tuple[float, float] = (0.5, 1.15),
) -> float:
    """Returns a `mu` that grows with the number of tokens, linearly and beyond the range too.

    Released EasyAnimate pipelines leave mu at 1 for every size; the two ranges are those of its scheduler
    config (base_image_seq_len, max_image_seq_len, base_shift, max_shift).
    """
    (few, many), (low, high) = tokens_range, mu_range
    return low + (high - low) * (tokens - few) / (many - few)


@dataclass(frozen=True, kw_only=True)
class FlowMatching:
    """The flow and its sampling schedule, in the vocabulary of the released scheduler config.

    Attributes:
        num_train_timesteps: The network's timestep is this times sigma.
        shift: Static shift of the schedule towards high sigmas, used when `use_dynamic_shifting` is off.
        use_dynamic_shifting: Shift by exp(mu) instead.
        mu: Released pipelines use 1 for every size.
    """

    num_train_timesteps: int = 1000
    shift: float = 3.0
    use_dynamic_shifting: bool = True
    mu: float = 1.0

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        require_whole(self, ("num_train_timesteps",))
        require_finite(self, ("shift", "mu"))
        require_switch(self, ("use_dynamic_shifting",))
        if self.shift <= 0:
            raise ValueError(f"shift must be positive, got {self.shift}")
        if abs(self.mu) > _LARGEST_MU:
            raise ValueError(f"mu must be from {-_LARGEST_MU} to {_LARGEST_MU}, got {self.mu}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads a released scheduler config.

        Raises:
            ValueError: For another class, an unknown key, or a setting that is not supported.
        """
        name = values.get("_class_name", CLASS_NAME)
        if name != CLASS_NAME:
            raise ValueError(f"the scheduler config is for {name}; this version of EA knows {CLASS_NAME}")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known - INERT_KEYS - set(_FIXED)):
            raise ValueError(
                f"unknown key {unknown[0]!r} in the scheduler config; {known_names(unknown[0], known)}"
            )
        for key, allowed in _FIXED.items():
            if values.get(key, allowed) != allowed:
                raise ValueError(f"{key} must be {allowed!r} in the scheduler config, got {values[key]!r}")
        return cls(**{"use_dynamic_shifting": False, **{k: v for k, v in values.items() if k in known}})

    def to_dict(self) -> dict[str, Any]:
        """Returns the config as a released `scheduler_config.json` would hold it."""
        return {"_class_name": CLASS_NAME, **asdict(self)}

    @property
    def effective_shift(self) -> float:
        """The factor of `shift_levels`."""
        return math.exp(self.mu) if self.use_dynamic_shifting else self.shift

    def sigmas(self, num_steps: int, table: Table = ()) -> Tensor:
        """Returns the num_steps + 1 noise levels of a run, falling from 1 to 0: float64, cast to float32.

        Args:
            num_steps: Steps, not counted where a table is given.
            table: Timesteps to visit instead; their levels are not shifted.
        """
        if table:
            return torch.tensor([*flow_levels(table, self.num_train_timesteps), 0.0])
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}")
        lowest = 1 / self.num_train_timesteps
        linear = torch.linspace(1.0, lowest, num_steps, dtype=torch.float64)
        shifted = shift_levels(linear, self.effective_shift)
        return torch.cat((shifted, shifted.new_zeros(1))).float()

    def timesteps(self, sigmas: Tensor) -> Tensor:
        """Returns what the network takes for noise levels."""
        return sigmas * self.num_train_timesteps

    def add_noise(self, clean: Tensor, noise: Tensor, sigma: Tensor | float) -> Tensor:
        """Returns (1 - sigma) clean + sigma noise in the dtype of the clean latents.

        Args:
            clean: Latents (B, ...).
            noise: Unit normal, same shape.
            sigma: One level, or one per sample (B,).
        """
        sigma = _per_sample(sigma, clean)
        return (sigma * noise + (1.0 - sigma) * clean).to(clean.dtype)

    def target(self, clean: Tensor, noise: Tensor) -> Tensor:
        """Returns what the network learns to predict."""
        return noise - clean

    def clean_from(self, noisy: Tensor, prediction: Tensor, sigma: Tensor | float) -> Tensor:
        """Returns the clean latents that a prediction at a noise level amounts to."""
        return noisy - _per_sample(sigma, noisy) * prediction

    def step(self, latents: Tensor, prediction: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """One Euler step, computed in float32 and cast to the dtype of the prediction."""
        moved = latents.float() + (sigma_next - sigma) * prediction.float()
        return moved.to(prediction.dtype)


def _per_sample(sigma: Tensor | float, like: Tensor) -> Tensor | float:
    """Levels (B,) as (B, 1, ...) beside a batch; a single level as it is."""
    if isinstance(sigma, Tensor) and sigma.ndim == 1:
        return sigma.view(-1, *([1] * (like.ndim - 1))).to(like.device)
    return sigma


@dataclass(frozen=True)
class EulerFlowSampler:
    """The Euler sampler of one run: the schedule cut to the steps that are run.

    Attributes:
        flow: The schedule.
        num_steps: Steps of the full schedule.
        strength: Share of the steps, the last ones, that are run; at least one.
        table: Timesteps to visit instead of the schedule's.
    """

    flow: FlowMatching
    num_steps: int
    strength: float = 1.0
    table: Table = field(default=(), kw_only=True)
    sigmas: Tensor = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Makes the schedule."""
        kept = kept_steps(len(self.table) or self.num_steps, self.strength)
        object.__setattr__(self, "sigmas", self.flow.sigmas(self.num_steps, self.table)[-kept - 1 :])

    @property
    def timesteps(self) -> Tensor:
        """The network's timestep of every step that is run."""
        return self.flow.timesteps(self.sigmas[:-1])

    def start(self, noise: Tensor, clean: Tensor | None = None) -> Tensor:
        """Returns the latents that the run starts from: noise, or a clean video noised to the first level."""
        return noise if clean is None else self.flow.add_noise(clean, noise, float(self.sigmas[0]))

    def model_input(self, index: int, latents: Tensor) -> Tensor:
        """Returns the latents as they are."""
        del index
        return latents

    def step(
        self,
        index: int,
        latents: Tensor,
        prediction: Tensor,
        memory: Memory,
        draw: Draw | None = None,
    ) -> tuple[Tensor, Memory]:
        """Returns the latents after step `index`; nothing is remembered or drawn."""
        del draw
        sigma, sigma_next = self.sigmas[index], self.sigmas[index + 1]
        return self.flow.step(latents, prediction, sigma, sigma_next), memory

    def clean(self, index: int, latents: Tensor, prediction: Tensor) -> Tensor:
        """Returns the clean latents that a velocity at step `index` amounts to."""
        return latents.float() - self.sigmas[index] * prediction.float()
