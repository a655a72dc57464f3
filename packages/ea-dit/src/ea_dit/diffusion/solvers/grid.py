"""The noise levels that a run visits."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ea_dit.diffusion.ddpm import DdpmSchedule, Spacing
from ea_dit.diffusion.flow import FlowMatching
from ea_dit.diffusion.loop import kept_steps
from ea_dit.diffusion.prediction import Level, PredictionType, clean_of, mix, wide
from ea_dit.diffusion.tables import Table, visited_whole

# What stands for a = 0 in solvers that divide by alpha; sigma / alpha is then 4096, as in released runs.
SMALLEST_ALPHA_BAR = 2.0**-24

# The same for the first level of a flow, where only the logarithm needs it.
SMALLEST_FLOW_ALPHA = 1e-6

CLEAN = Level(1.0, 0.0)


@dataclass(frozen=True)
class NoiseGrid:
    """K model calls and the K + 1 noise levels between which they move.

    Attributes:
        timesteps: What the network is told, (K,).
        levels: K + 1 levels, falling; the last is clean.
        kind: What the network predicts.
        clip: Estimates of clean latents are clipped to plus and minus this; None: they are not.
    """

    timesteps: Tensor = field(compare=False)
    levels: tuple[Level, ...]
    kind: PredictionType
    clip: float | None = None

    def __post_init__(self) -> None:
        """Refuses a start from which the clean latents cannot be told."""
        assert len(self.levels) == len(self.timesteps) + 1
        if self.kind == "epsilon" and self.levels[0].alpha == 0:
            raise ValueError(
                "prediction_type epsilon cannot start from pure noise (rescale_betas_zero_snr): "
                "train with v_prediction, or sample with Euler, DPM++ or UniPC"
            )

    def __len__(self) -> int:
        """Number of model calls."""
        return len(self.timesteps)

    def last(self, count: int) -> "NoiseGrid":
        """Returns the grid of the last `count` calls."""
        return NoiseGrid(self.timesteps[-count:], self.levels[-count - 1 :], self.kind, self.clip)

    def clean(self, index: int, latents: Tensor, prediction: Tensor) -> Tensor:
        """Returns the clean latents that a prediction at call `index` amounts to, clipped if asked for."""
        clean = clean_of(wide(prediction), wide(latents), self.levels[index], self.kind)
        return clean if self.clip is None else clean.clamp(-self.clip, self.clip)

    def start(self, noise: Tensor, clean: Tensor | None) -> Tensor:
        """Returns noise as it is, or clean latents noised to the first level, in their dtype."""
        if clean is None:
            return noise
        return mix(wide(clean), wide(noise), self.levels[0]).to(clean.dtype)

    @cached_property
    def log_ratios(self) -> tuple[float, ...]:
        """log(alpha / sigma) of every level; infinite for the clean one."""
        return tuple(_log_ratio(float(level.alpha), float(level.sigma)) for level in self.levels)


def _log_ratio(alpha: float, sigma: float) -> float:
    return math.inf if sigma == 0 else math.log(max(alpha, SMALLEST_FLOW_ALPHA)) - math.log(sigma)


def ddpm_level(alpha_bar: float) -> Level:
    """The level of a(t)."""
    return Level(math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))


def spaced_timesteps(
    schedule: DdpmSchedule, num_steps: int, default: Spacing, *, extra_point: bool = False
) -> list[float]:
    """Returns the timesteps of a run of n steps, falling; only "linspace" gives fractions.

    Args:
        schedule: Process, spacing and offset.
        num_steps: n.
        default: Spacing if the schedule leaves it open.
        extra_point: Divide the range by n + 1 points and leave the last out, where the range is divided from
            end to end ("linspace") or from the start ("leading").

    Raises:
        ValueError: If the range has not enough timesteps.
    """
    count = schedule.num_train_timesteps
    spacing = schedule.timestep_spacing or default
    points = num_steps + 1 if extra_point else num_steps
    if points > count:
        raise ValueError(f"num_steps must be at most {count - points + num_steps}, got {num_steps}")
    if spacing == "trailing":
        return [float(round(count - step * (count / num_steps)) - 1) for step in range(num_steps)]
    if spacing == "leading":
        rising = [float(point * (count // points) + schedule.steps_offset) for point in range(points)]
    else:
        width = (count - 1) / max(points - 1, 1)
        rising = [*(point * width for point in range(points - 1)), count - 1.0]
    falling = rising[::-1][:num_steps]
    if falling[0] > count - 1:
        raise ValueError(
            f"num_steps {num_steps} with steps_offset {schedule.steps_offset} needs timestep "
            f"{falling[0]:.0f}, but the last one is {count - 1}"
        )
    return falling


def whole_grid(
    schedule: DdpmSchedule, falling: list[int], alpha_bars: list[float], *, clipped: bool = False
) -> NoiseGrid:
    """The grid of whole timesteps, falling, and of clean latents after them.

    Args:
        schedule: The process; says what the network predicts, and where estimates are clipped.
        falling: Timesteps.
        alpha_bars: a(t) of all timesteps.
        clipped: Whether estimates are clipped.
    """
    levels = (*(ddpm_level(alpha_bars[t]) for t in falling), CLEAN)
    clip = schedule.clip_sample_range if clipped else None
    return NoiseGrid(torch.tensor(falling), levels, schedule.prediction_type, clip)


def ddpm_grid(schedule: DdpmSchedule, num_steps: int, strength: float, table: Table = ()) -> NoiseGrid:
    """The grid of solvers that work with the logarithm of alpha / sigma: whole timesteps."""
    kept = kept_steps(len(table) or num_steps, strength)
    if table:
        falling = visited_whole(table, schedule.num_train_timesteps)
    else:
        falling = [round(t) for t in spaced_timesteps(schedule, num_steps, "linspace", extra_point=True)]
    return whole_grid(schedule, falling, nonzero_alpha_bars(schedule)).last(kept)


def flow_grid(flow: FlowMatching, num_steps: int, strength: float, table: Table = ()) -> NoiseGrid:
    """The grid of the released flow schedule, or of given timesteps."""
    sigmas = flow.sigmas(num_steps, table)
    levels = tuple(Level(1 - sigma, sigma) for sigma in sigmas.tolist())
    return NoiseGrid(flow.timesteps(sigmas[:-1]), levels, "flow").last(
        kept_steps(len(table) or num_steps, strength)
    )


def nonzero_alpha_bars(schedule: DdpmSchedule) -> list[float]:
    """a(t) with `SMALLEST_ALPHA_BAR` in place of the zero of a zero-SNR schedule."""
    values = schedule.alphas_cumprod.tolist()
    if schedule.rescale_betas_zero_snr:
        values[-1] = SMALLEST_ALPHA_BAR
    return values
