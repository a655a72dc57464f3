"""The process of Open-Sora: noise prediction with a learned variance, on a subset of the training steps.

x(t) = sqrt(a(t)) clean + sqrt(1 - a(t)) noise, a(t) the running product of 1 - beta. The network gives the
noise and, in as many further channels, where the logarithm of the variance lies between that of the posterior
and that of beta. Source: Ho et al. 2020 (arXiv 2006.11239); Nichol and Dhariwal 2021 (arXiv 2102.09672,
sections 3.1 and 4). B batch, N training steps, K steps that are kept.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

from ea_dit.config_values import require_switch, require_whole
from ea_dit.diffusion.respacing import respaced
from ea_kernels.runtime.hints import known_names

CLASS_NAME = "IDDPM"

# Keys of Open-Sora's scheduler settings that decide nothing here: guidance and the loss are other objects.
_ELSEWHERE = frozenset(
    {"_class_name", "type", "cfg_scale", "cfg_channel", "use_kl", "rescale_learned_sigmas"}
)
_FIXED: Mapping[str, Any] = {"noise_schedule": "linear", "learn_sigma": True, "sigma_small": False}


class Tables(NamedTuple):
    """Numbers of the K kept steps, each (K,).

    Attributes:
        betas: Variance that a step adds.
        kept: a, the share of the signal's power that is left after a step.
        kept_before: a of the step before, 1 for the first.
        log_variance: Logarithm of the posterior's variance; the first step, where it is 0, has the second's.
        clean_weight: Of clean latents in the posterior's mean.
        noisy_weight: Of noisy latents in it.
    """

    betas: Tensor
    kept: Tensor
    kept_before: Tensor
    log_variance: Tensor
    clean_weight: Tensor
    noisy_weight: Tensor


class Estimate(NamedTuple):
    """What a prediction says about the step before.

    Attributes:
        mean: Of the less noisy latents.
        log_variance: Logarithm of their variance.
        clean: The clean latents that the prediction amounts to.
    """

    mean: Tensor
    log_variance: Tensor
    clean: Tensor


class Noised(NamedTuple):
    """Training latents at their steps.

    Attributes:
        noisy: What the network sees.
        clean: Without noise.
        noise: Unit normal.
        steps: (B,) indices of kept steps.
        frame_mask: (B, T) boolean, False for condition frames; None if there are none.
    """

    noisy: Tensor
    clean: Tensor
    noise: Tensor
    steps: Tensor
    frame_mask: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Iddpm:
    """The process and the steps that are kept of it.

    Attributes:
        diffusion_steps: N.
        timestep_respacing: Which steps are kept, see `respaced`; empty for all, as in training.
        predict_xstart: Whether the network predicts clean latents instead of noise.
        table_dtype: In which the tables are computed: "float32" as in Open-Sora 1.1, or "float64" as in 1.0.
            Near the first step they differ by up to 6e-4 of 1 - a.
    """

    diffusion_steps: int = 1000
    timestep_respacing: str = ""
    predict_xstart: bool = False
    table_dtype: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        if self.table_dtype not in ("float32", "float64"):
            raise ValueError(f"table_dtype must be 'float32' or 'float64', got {self.table_dtype!r}")
        require_whole(self, ("diffusion_steps",))
        require_switch(self, ("predict_xstart",))
        if not isinstance(self.timestep_respacing, str):
            raise ValueError(  # noqa: TRY004
                f"timestep_respacing must be text such as '100' or 'ddim50', got {self.timestep_respacing!r}"
            )
        respaced(self.diffusion_steps, self.timestep_respacing)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads scheduler settings in Open-Sora's vocabulary, or what `to_dict` wrote.

        `num_sampling_steps` is another name of a `timestep_respacing` of one section.

        Raises:
            ValueError: For another scheduler, an unknown key, or a value that is not implemented, naming it.
        """
        name = values.get("_class_name", values.get("type", CLASS_NAME))
        if str(name).lower() not in ("iddpm", "iddpm-speed"):
            raise ValueError(f"the scheduler config is for {name}, not for {CLASS_NAME}")
        known = {field.name for field in fields(cls)}
        given: dict[str, Any] = {}
        for key, value in values.items():
            if key in known:
                given |= {} if value is None else {key: value}
            elif key == "num_sampling_steps":
                given.setdefault("timestep_respacing", "" if value is None else str(value))
            elif key in _FIXED:
                if value != _FIXED[key]:
                    raise ValueError(f"scheduler config: {key} must be {_FIXED[key]!r}, got {value!r}")
            elif key not in _ELSEWHERE:
                raise ValueError(f"scheduler config: unknown key {key!r}; {known_names(key, known)}")
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as a `scheduler_config.json` holds them."""
        return {"_class_name": CLASS_NAME, **asdict(self)}

    @cached_property
    def timesteps(self) -> Tensor:
        """The network's timestep of every kept step, (K,) int64, rising."""
        return torch.tensor(respaced(self.diffusion_steps, self.timestep_respacing))

    def __len__(self) -> int:
        """K."""
        return len(self.timesteps)

    @cached_property
    def tables(self) -> Tables:
        """Numbers of the kept steps in `table_dtype`."""
        scale = 1000 / self.diffusion_steps
        every = torch.linspace(scale * 1e-4, scale * 2e-2, self.diffusion_steps, dtype=torch.float64)
        of_kept = (1 - every).cumprod(0)[self.timesteps]
        betas = 1 - of_kept / _shifted(of_kept)
        betas = betas.float() if self.table_dtype == "float32" else betas
        kept = (1 - betas).cumprod(0)
        before = _shifted(kept)
        variance = betas * (1 - before) / (1 - kept)
        first = variance[1:2] if len(variance) > 1 else betas
        return Tables(
            betas=betas,
            kept=kept,
            kept_before=before,
            log_variance=torch.cat((first, variance[1:])).log(),
            clean_weight=betas * before.sqrt() / (1 - kept),
            noisy_weight=(1 - before) * (1 - betas).sqrt() / (1 - kept),
        )

    def noised(self, clean: Tensor, noise: Tensor, steps: Tensor, frame_mask: Tensor | None = None) -> Noised:
        """Makes training latents.

        Args:
            clean: Latents (B, C, T, H, W).
            noise: Unit normal, same shape.
            steps: (B,) indices of kept steps.
            frame_mask: (B, T) boolean. Frames where it is False are conditions: noised to step 0, as
                released, by the same noise.
        """
        noisy = self.add_noise(clean, noise, steps)
        if frame_mask is not None:
            least = self.add_noise(clean, noise, torch.zeros_like(steps))
            noisy = torch.where(frame_mask[:, None, :, None, None], noisy, least)
        return Noised(noisy, clean, noise, steps, frame_mask)

    def add_noise(self, clean: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """Returns noisy latents, float32, for (B,) indices of kept steps."""
        kept = self.tables.kept
        return at(kept.sqrt(), steps, clean) * clean + at((1 - kept).sqrt(), steps, clean) * noise

    def posterior(self, clean: Tensor, noisy: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the step before, knowing the clean latents."""
        tables = self.tables
        clean_part = at(tables.clean_weight, steps, clean) * clean
        mean = clean_part + at(tables.noisy_weight, steps, noisy) * noisy
        return mean, at(tables.log_variance, steps, noisy)

    def estimate(
        self, prediction: Tensor, noisy: Tensor, steps: Tensor, *, clip: float | None = None
    ) -> Estimate:
        """What the network says about the step before.

        Args:
            prediction: Noise (or clean latents), then the variance: twice the channels of the latents.
            noisy: What it was shown.
            steps: (B,) indices of kept steps.
            clip: Bound of the estimate of clean latents; None, as released, leaves it.

        Raises:
            ValueError: If the prediction has no variance.
        """
        tables = self.tables
        clean, position = self.clean_and_position(prediction, noisy, steps)
        if clip is not None:
            clean = clean.clamp(-clip, clip)
        mean, least = self.posterior(clean, noisy, steps)
        most = at(tables.betas.log(), steps, noisy)
        share = (position + 1) / 2
        return Estimate(mean, share * most + (1 - share) * least, clean)

    def clean_and_position(self, prediction: Tensor, noisy: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Splits a prediction into the clean latents it amounts to and the variance channels, float32."""
        if prediction.shape[1] != 2 * noisy.shape[1]:
            raise ValueError(
                f"the prediction must have {2 * noisy.shape[1]} channels, noise and variance, "
                f"got {prediction.shape[1]}"
            )
        noise, position = prediction.float().chunk(2, dim=1)
        if self.predict_xstart:
            return noise, position
        kept = self.tables.kept
        scaled = at((1 / kept).sqrt(), steps, noisy) * noisy
        return scaled - at((1 / kept - 1).sqrt(), steps, noisy) * noise, position


def at(table: Tensor, steps: Tensor, like: Tensor) -> Tensor:
    """Entries of a table for (B,) steps as float32, shaped to go with latents (B, ...)."""
    chosen = table[steps.cpu()].to(device=like.device, dtype=torch.float32)
    return chosen.view(-1, *([1] * (like.ndim - 1)))


def _shifted(kept: Tensor) -> Tensor:
    """Every entry's predecessor, 1 for the first."""
    return torch.cat((kept.new_ones(1), kept[:-1]))
