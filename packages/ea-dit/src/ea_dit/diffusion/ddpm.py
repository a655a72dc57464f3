"""The variance-preserving process of DDPM, in the vocabulary of released scheduler configs.

x(t) = sqrt(a(t)) clean + sqrt(1 - a(t)) noise, a(t) the running product of 1 - beta. Source: Ho et al. 2020
(arXiv 2006.11239); cosine betas Nichol and Dhariwal 2021 (arXiv 2102.09672); betas with zero terminal SNR
Lin et al. 2023 (arXiv 2305.08891, algorithm 1); loss weights Hang et al. 2023 (arXiv 2303.09556).
B batch, N training steps.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from ea_dit.config_values import LARGEST
from ea_dit.diffusion.ddpm_released import CLASS_NAMES, from_released, require_one_of
from ea_dit.diffusion.prediction import Level, PredictionType, clean_of, mix, target_of, wide

Spacing = Literal["leading", "trailing", "linspace"]
BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]


@dataclass(frozen=True, kw_only=True)
class DdpmSchedule:
    """The process, and what the released config says about sampling from it.

    Where a field is None the sampler's own habit holds, as it does in the released programs.

    Attributes:
        class_name: `_class_name` of the file; it names the default sampler.
        num_train_timesteps: N; timesteps run from 0 to N - 1.
        beta_start: First beta.
        beta_end: Last beta.
        beta_schedule: Between them "linear", "scaled_linear" (linear in the square root), or
            "squaredcos_cap_v2", which takes no notice of start and end.
        trained_betas: The N betas themselves instead.
        prediction_type: "epsilon", "sample" or "v_prediction".
        rescale_betas_zero_snr: Shift and scale sqrt(a) so that the last step is pure noise.
        timestep_spacing: Which timesteps a run of n steps visits.
        steps_offset: Added to "leading" timesteps.
        clip_sample: Clip estimates of clean latents in DDIM and LCM. Latents exceed 1, so it is off unless
            the file asks for it.
        clip_sample_range: To plus and minus this.
        set_alpha_to_one: Whether the last step of DDIM, PNDM and LCM ends at a = 1 instead of a(0).
        skip_prk_steps: PNDM without its Runge-Kutta start.
        algorithm_type: Of DPM-Solver++, "dpmsolver++" or "sde-dpmsolver++".
        solver_order: Of DPM-Solver++ and UniPC, 1 or 2.
        original_inference_steps: Steps of the grid that an LCM was distilled on.
        timestep_scaling: Of LCM's boundary condition.
    """

    class_name: str = "DDIMScheduler"
    num_train_timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    beta_schedule: BetaSchedule = "linear"
    trained_betas: tuple[float, ...] | None = None
    prediction_type: PredictionType = "epsilon"
    rescale_betas_zero_snr: bool = False
    timestep_spacing: Spacing | None = None
    steps_offset: int = 0
    clip_sample: bool = False
    clip_sample_range: float = 1.0
    set_alpha_to_one: bool | None = None
    skip_prk_steps: bool = False
    algorithm_type: Literal["dpmsolver++", "sde-dpmsolver++"] = "dpmsolver++"
    solver_order: int = 2
    original_inference_steps: int = 50
    timestep_scaling: float = 10.0

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        require_one_of("class_name", self.class_name, CLASS_NAMES)
        require_one_of("beta_schedule", self.beta_schedule, get_args(BetaSchedule))
        require_one_of("prediction_type", self.prediction_type, ("epsilon", "sample", "v_prediction"))
        require_one_of("timestep_spacing", self.timestep_spacing, (None, *get_args(Spacing)))
        require_one_of("algorithm_type", self.algorithm_type, ("dpmsolver++", "sde-dpmsolver++"))
        require_one_of("solver_order", self.solver_order, (1, 2))
        for name, least in (("num_train_timesteps", 2), ("steps_offset", 0), ("original_inference_steps", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(
                    f"scheduler config: {name} must be a whole number of at least {least}, got {value!r}"
                )
            if value > LARGEST:
                raise ValueError(f"scheduler config: {name} must be at most {LARGEST}, got {value}")
        for name in ("rescale_betas_zero_snr", "clip_sample", "skip_prk_steps"):
            require_one_of(name, getattr(self, name), (True, False))
        require_one_of("set_alpha_to_one", self.set_alpha_to_one, (None, True, False))
        for name in ("beta_start", "beta_end", "clip_sample_range", "timestep_scaling"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
                raise ValueError(f"scheduler config: {name} must be a number above 0, got {value!r}")
        if not self.beta_start <= self.beta_end < 1:
            raise ValueError(
                "scheduler config: beta_end must be at least beta_start and below 1, "
                f"got beta_start {self.beta_start} and beta_end {self.beta_end}"
            )
        given = self.trained_betas
        count = self.num_train_timesteps
        if given is None:
            return
        if len(given) != count or not all(isinstance(beta, float) and 0 < beta < 1 for beta in given):
            raise ValueError(
                f"scheduler config: trained_betas must be {count} numbers between 0 and 1, got {len(given)}"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads a released `scheduler_config.json`.

        Raises:
            ValueError: For an unknown key, or a value that is not implemented, naming it.
        """
        return cls(**from_released(values, known={field.name for field in fields(cls)} - {"class_name"}))

    def to_dict(self) -> dict[str, Any]:
        """Returns the config as a released `scheduler_config.json` would hold it."""
        values = asdict(self)
        name = values.pop("class_name")
        written = {key: value for key, value in values.items() if value is not None}
        if self.trained_betas is not None:
            written["trained_betas"] = list(self.trained_betas)
        return {"_class_name": name, **written}

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """a(t) of all N timesteps, (N,) float32.

        Computed in float32 throughout: the models were trained on these numbers, and near zero SNR, where the
        shift cancels most digits, they are not those of float64.
        """
        betas = self._betas()
        return (1.0 - (_without_terminal_snr(betas) if self.rescale_betas_zero_snr else betas)).cumprod(0)

    def _betas(self) -> Tensor:
        count = self.num_train_timesteps
        if self.trained_betas is not None:
            return torch.tensor(self.trained_betas, dtype=torch.float32)
        if self.beta_schedule == "linear":
            return torch.linspace(self.beta_start, self.beta_end, count, dtype=torch.float32)
        if self.beta_schedule == "scaled_linear":
            ends = math.sqrt(self.beta_start), math.sqrt(self.beta_end)
            return torch.linspace(*ends, count, dtype=torch.float32).square()
        kept = [math.cos((step / count + 0.008) / 1.008 * math.pi / 2) ** 2 for step in range(count + 1)]
        return torch.tensor([min(1 - after / before, 0.999) for before, after in pairwise(kept)])

    def levels(self, timesteps: Tensor, like: Tensor) -> Level:
        """Returns the noise level of every sample.

        Args:
            timesteps: Whole numbers (B,), 0 ... N - 1.
            like: Latents (B, ...) whose device and number of axes the level takes.
        """
        kept = self.alphas_cumprod[timesteps.cpu()].to(like.device)
        kept = kept.view(-1, *([1] * (like.ndim - 1)))
        return Level(kept.sqrt(), (1 - kept).sqrt())

    def add_noise(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Returns noisy latents in the dtype of the clean ones.

        Args:
            clean: Latents (B, ...).
            noise: Unit normal, same shape.
            timesteps: Whole numbers (B,).
        """
        return mix(wide(clean), wide(noise), self.levels(timesteps, clean)).to(clean.dtype)

    def target(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Returns what the network learns to predict, float32 or wider."""
        return target_of(wide(clean), wide(noise), self.levels(timesteps, clean), self.prediction_type)

    def clean_from(self, noisy: Tensor, prediction: Tensor, timesteps: Tensor) -> Tensor:
        """Returns the clean latents that a prediction amounts to, float32 or wider."""
        level = self.levels(timesteps, noisy)
        return clean_of(wide(prediction), wide(noisy), level, self.prediction_type)

    def snr(self, timesteps: Tensor) -> Tensor:
        """Signal-to-noise ratio a / (1 - a) of timesteps (B,), float32."""
        kept = self.alphas_cumprod[timesteps.cpu()]
        return kept / (1 - kept)

    def loss_weight(self, timesteps: Tensor, gamma: float = 5.0) -> Tensor:
        """Weights of the squared error that amount to min(SNR, gamma) on clean latents (arXiv 2303.09556).

        Args:
            timesteps: Whole numbers (B,).
            gamma: Where the weight stops to grow.

        Returns:
            (B,) float32 on the CPU. For epsilon min(1, gamma / SNR), which at zero SNR is 1.
        """
        if gamma <= 0:
            raise ValueError(f"gamma must be positive, got {gamma}")
        snr = self.snr(timesteps)
        if self.prediction_type == "epsilon":
            return gamma / snr.clamp(min=gamma)
        capped = snr.clamp(max=gamma)
        return capped if self.prediction_type == "sample" else capped / (snr + 1)


def _without_terminal_snr(betas: Tensor) -> Tensor:
    """Betas whose sqrt(a) is shifted to end at 0 and scaled to begin where it began."""
    root = (1.0 - betas).cumprod(0).sqrt()
    kept = ((root - root[-1]) * (root[0] / (root[0] - root[-1]))).square()
    return 1.0 - torch.cat((kept[:1], kept[1:] / kept[:-1]))
