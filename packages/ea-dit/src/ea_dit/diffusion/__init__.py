"""Schedules, targets, samplers, guidance and the denoise loop: the same objects for training and sampling."""

from ea_dit.diffusion.ddpm import DdpmSchedule
from ea_dit.diffusion.factory import (
    Schedule,
    default_sampler,
    sampler_for,
    sampler_names,
    schedule_from_dict,
    takes_variance,
)
from ea_dit.diffusion.flow import EulerFlowSampler, FlowMatching, resolution_mu
from ea_dit.diffusion.guidance import Guidance, GuidanceSchedule
from ea_dit.diffusion.iddpm import Iddpm
from ea_dit.diffusion.iddpm_loss import IddpmLoss, SpeedSampling
from ea_dit.diffusion.iddpm_sampling import HeldFrames, IddpmSampler
from ea_dit.diffusion.loop import Cancelled, Draw, LoopState, Memory, Sampler, denoise, denoise_steps, draws
from ea_dit.diffusion.timesteps import SigmaSampling, TimestepSampling

__all__ = [
    "Cancelled",
    "DdpmSchedule",
    "Draw",
    "EulerFlowSampler",
    "FlowMatching",
    "Guidance",
    "GuidanceSchedule",
    "HeldFrames",
    "Iddpm",
    "IddpmLoss",
    "IddpmSampler",
    "LoopState",
    "Memory",
    "Sampler",
    "Schedule",
    "SigmaSampling",
    "SpeedSampling",
    "TimestepSampling",
    "default_sampler",
    "denoise",
    "denoise_steps",
    "draws",
    "resolution_mu",
    "sampler_for",
    "sampler_names",
    "schedule_from_dict",
    "takes_variance",
]
