"""Sampling from Open-Sora's process, and frames of it that are given. B batch, T frames, K kept steps."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ea_dit.diffusion.iddpm import Iddpm
from ea_dit.diffusion.loop import Draw, Memory, drawn, kept_steps
from ea_dit.diffusion.prediction import Level
from ea_dit.diffusion.solvers.dpm import DpmSolverSampler
from ea_dit.diffusion.solvers.grid import NoiseGrid


@dataclass(frozen=True)
class IddpmSampler:
    """Ancestral steps with the learned variance (the default of Open-Sora), or DDIM.

    Noise is drawn in every step, in the last one and by DDIM with eta 0 too, where it counts nothing: the
    released program does, and so the draws of a seed stay in place.

    Attributes:
        process: With the steps that are kept of it.
        strength: Share of the steps, the last ones, that are run.
        eta: None for ancestral steps; else DDIM with this share of its noise (arXiv 2010.02502, equation 16).
    """

    process: Iddpm
    strength: float = 1.0
    eta: float | None = None

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        if self.eta is not None and not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be at least 0 and at most 1, got {self.eta}")
        kept_steps(len(self.process), self.strength)

    @property
    def timesteps(self) -> Tensor:
        """The network's timestep of every step that is run, falling."""
        return self.process.timesteps[: kept_steps(len(self.process), self.strength)].flip(0)

    def level(self, index: int) -> int:
        """The kept step of a model call, K - 1 ... 0."""
        return kept_steps(len(self.process), self.strength) - 1 - index

    def start(self, noise: Tensor, clean: Tensor | None = None) -> Tensor:
        """Returns noise, or a clean video noised to the first level."""
        if clean is None:
            return noise
        return self.process.add_noise(clean, noise, self._steps(0, clean)).to(clean.dtype)

    def model_input(self, index: int, latents: Tensor) -> Tensor:
        """Returns the latents as they are."""
        del index
        return latents

    def step(
        self, index: int, latents: Tensor, prediction: Tensor, memory: Memory, draw: Draw | None = None
    ) -> tuple[Tensor, Memory]:
        """Returns the latents after step `index`, float32; the prediction holds noise and variance."""
        x = latents.float()
        if self.eta is not None:
            return self._ddim(index, x, prediction, drawn(draw, x)), memory
        estimate = self.process.estimate(prediction, x, self._steps(index, x))
        noise = drawn(draw, x)
        if self.level(index) == 0:
            return estimate.mean, memory
        return estimate.mean + (estimate.log_variance / 2).exp() * noise, memory

    def _steps(self, index: int, like: Tensor) -> Tensor:
        return torch.full((len(like),), self.level(index))

    def _ddim(self, index: int, x: Tensor, prediction: Tensor, noise: Tensor) -> Tensor:
        assert self.eta is not None
        clean, _ = self.process.clean_and_position(prediction, x, self._steps(index, x))
        tables = self.process.tables
        kept, before = float(tables.kept[self.level(index)]), float(tables.kept_before[self.level(index)])
        predicted_noise = (x - math.sqrt(kept) * clean) / math.sqrt(1 - kept)
        fresh = self.eta * math.sqrt((1 - before) / (1 - kept) * (1 - kept / before))
        rest = math.sqrt(max(1 - before - fresh**2, 0.0))
        return math.sqrt(before) * clean + rest * predicted_noise + fresh * noise


@dataclass(frozen=True)
class HeldFrames:
    """Frames that are given: they join the run late, or at its very end.

    A frame with edit ratio r is held at its latents until step int(r K), counted down from K. There it is
    noised to that level; from then on it follows the sampler, and the network takes it for noisy from the
    next step on. Ratio 1 is plain generation; ratio 0 joins in the last step, so a kept frame comes out close
    to what was given, but not bit for bit. One more draw is made in every step.

    Attributes:
        sampler: Of the run.
        ratios_BT: Edit ratios, 0 ... 1.
    """

    sampler: IddpmSampler
    ratios_BT: Tensor

    def __post_init__(self) -> None:
        """Refuses impossible values."""
        if self.ratios_BT.ndim != 2 or not bool(((self.ratios_BT >= 0) & (self.ratios_BT <= 1)).all()):
            raise ValueError("edit ratios must be (batch, frames) numbers between 0 and 1")

    def _joining_steps(self) -> Tensor:
        # In float32, as released: of 100 steps, a ratio of 0.53 joins at 52.
        return (self.ratios_BT.float() * len(self.sampler.process)).int()

    def frame_mask(self, index: int) -> Tensor:
        """(B, T) boolean for the network: False where a frame is held or only just joined."""
        return self._joining_steps() > self.sampler.level(index)

    def before(self, index: int, latents: Tensor, draw: Draw | None) -> Tensor:
        """Returns the latents with the frames that join in this step noised."""
        level = self.sampler.level(index)
        noise = drawn(draw, latents)
        steps = torch.full((len(latents),), level)
        noisy = self.sampler.process.add_noise(latents, noise, steps)
        return torch.where(_by_frame(self._joining_steps() == level, latents), noisy, latents)

    def after(self, index: int, before: Tensor, stepped: Tensor) -> Tensor:
        """Returns the latents after a step with the frames that are still held put back."""
        joined = self._joining_steps() >= self.sampler.level(index)
        return torch.where(_by_frame(joined, stepped), stepped, before)


def _by_frame(mask_BT: Tensor, latents_BCTHW: Tensor) -> Tensor:
    return mask_BT.to(latents_BCTHW.device)[:, None, :, None, None]


def dpm_sampler(process: Iddpm, num_steps: int) -> DpmSolverSampler:
    """Open-Sora's `dpm-solver`: order 2, steps even in time, ending at the first training step's level.

    Time runs from 1 to 1 / N. Between training steps log(alpha) is interpolated, and the network gets
    fractional timesteps. The last step is of second order from 10 steps on. The predictor must leave the
    variance out.

    Args:
        process: All of its steps must be kept.
        num_steps: Model calls.
    """
    if len(process) != process.diffusion_steps:
        given = process.timestep_respacing
        raise ValueError(f"timestep_respacing must be empty for DPM-Solver, got {given!r}")
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    count = len(process)
    log_alphas = (0.5 * process.tables.kept.double().log()).tolist()
    # Position among the training steps, count - 1 ... 0.
    places = [(count - 1) * (1 - step / num_steps) for step in range(num_steps + 1)]
    levels = tuple(_level(_interpolated(log_alphas, place)) for place in places)
    times = torch.tensor([1000 / count * place for place in places[:-1]], dtype=torch.float32)
    return DpmSolverSampler(NoiseGrid(times, levels, "epsilon"), lower_order_final=num_steps < 10)


def _interpolated(values: list[float], place: float) -> float:
    below = min(int(place), len(values) - 2)
    share = place - below
    return (1 - share) * values[below] + share * values[below + 1]


def _level(log_alpha: float) -> Level:
    return Level(math.exp(log_alpha), math.sqrt(-math.expm1(2 * log_alpha)))


def with_steps(process: Iddpm, num_steps: int) -> Iddpm:
    """The process with so many evenly spaced steps, for sampling."""
    return replace(process, timestep_respacing=str(num_steps))
