"""Consistency distillation: one jump of a student does what the teacher does in all its steps.

Along the teacher's path two neighbouring points must lead to the same clean latents. Source: Song et al. 2023
(arXiv 2303.01469); with guidance in the teacher Luo et al. 2023 (arXiv 2310.04378); with a LoRA as the
student arXiv 2311.05556. B batch, n steps of the teacher.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ea_dit.diffusion import DdpmSchedule, FlowMatching, Schedule
from ea_dit.diffusion.prediction import Level, PredictionType, clean_of, mix, noise_of, wide
from ea_dit.diffusion.solvers.lcm import boundary_level

DistanceKind = Literal["l2", "huber"]


@dataclass(frozen=True)
class TeacherPath:
    """The n + 1 points that the teacher's DDIM visits, from the cleanest on.

    Attributes:
        timesteps: What the network is told, (n + 1,).
        alphas: Weight of clean latents at each point.
        sigmas: Weight of noise at each point.
        kind: What the network predicts.
        scaling: Of timesteps in the boundary condition.
    """

    timesteps: Tensor
    alphas: Tensor
    sigmas: Tensor
    kind: PredictionType
    scaling: float

    def level(self, points_B: Tensor, like: Tensor) -> Level:
        """Noise levels of points, in the shape that fits beside latents."""
        shape = (-1, *([1] * (like.ndim - 1)))
        alpha, sigma = (values[points_B].to(like.device).view(shape) for values in (self.alphas, self.sigmas))
        return Level(alpha, sigma)

    def noisy(self, clean: Tensor, noise: Tensor, points_B: Tensor) -> Tensor:
        """Latents at points, in the dtype of the clean ones."""
        return mix(wide(clean), wide(noise), self.level(points_B, clean)).to(clean.dtype)

    def jump(self, prediction: Tensor, noisy: Tensor, points_B: Tensor) -> Tensor:
        """The clean latents that a student tells from a point; at timestep 0 those that it is given."""
        level = self.level(points_B, noisy)
        clean = clean_of(wide(prediction), wide(noisy), level, self.kind)
        timestep = self.timesteps[points_B].to(noisy.device).view(-1, *([1] * (noisy.ndim - 1)))
        return mix(clean, wide(noisy), boundary_level(timestep.float(), self.scaling))

    def step(self, prediction: Tensor, noisy: Tensor, points_B: Tensor) -> Tensor:
        """One step of DDIM from points to those before them."""
        level = self.level(points_B, noisy)
        clean = clean_of(wide(prediction), wide(noisy), level, self.kind)
        noise = noise_of(wide(prediction), wide(noisy), level, self.kind)
        return mix(clean, noise, self.level(points_B - 1, noisy)).to(noisy.dtype)


def teacher_path(schedule: Schedule, num_steps: int, *, scaling: float) -> TeacherPath:
    """The path of a schedule.

    For a DDPM the timesteps are N / n - 1, 2 N / n - 1 ..., as LCM's sampler visits them, and before them 0;
    for a flow the levels of its own schedule, and before them the clean latents.

    Args:
        schedule: Of the model.
        num_steps: n.
        scaling: See `TeacherPath`.

    Raises:
        ValueError: For a schedule or a number of steps that has no such path.
    """
    if isinstance(schedule, FlowMatching):
        sigmas = schedule.sigmas(num_steps).flip(0)
        return TeacherPath(schedule.timesteps(sigmas), 1 - sigmas, sigmas, "flow", scaling)
    if not isinstance(schedule, DdpmSchedule):
        raise ValueError("consistency distillation knows DDPM and flow schedules, got that of Open-Sora")  # noqa: TRY004
    count = schedule.num_train_timesteps
    if not 1 <= num_steps <= count:
        raise ValueError(f"task.num_ddim_timesteps must be from 1 to {count}, got {num_steps}")
    width = count // num_steps
    timesteps = torch.tensor([0, *(width * place - 1 for place in range(1, num_steps + 1))]).clamp_min(0)
    kept = schedule.alphas_cumprod[timesteps].double()
    if schedule.prediction_type == "epsilon" and kept[-1] == 0:
        raise ValueError(
            "prediction_type epsilon cannot be distilled from pure noise (rescale_betas_zero_snr)"
        )
    alphas, sigmas = kept.sqrt().float(), (1 - kept).sqrt().float()
    return TeacherPath(timesteps, alphas, sigmas, schedule.prediction_type, scaling)


def distance(student: Tensor, target: Tensor, kind: DistanceKind, huber_c: float) -> Tensor:
    """How far apart clean latents are, (B,).

    Args:
        student: (B, ...).
        target: The same shape.
        kind: "l2", the squared error, or "huber", sqrt(error^2 + c^2) - c.
        huber_c: c.
    """
    error = student.float() - target.float()
    values = error.square() if kind == "l2" else (error.square() + huber_c**2).sqrt() - huber_c
    return values.flatten(1).mean(dim=1)


def guided(positive: Tensor, negative: Tensor, scale_B: Tensor) -> Tensor:
    """The teacher's prediction, positive + w (positive - negative): LCM counts w one less than usual."""
    scale = scale_B.to(positive).view(-1, *([1] * (positive.ndim - 1)))
    return torch.lerp(negative, positive, 1 + scale)
