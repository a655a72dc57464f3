"""Schedules, targets, guidance and the denoise loop: the same objects for training and sampling."""

from ea_dit.diffusion.flow import EulerFlowSampler, FlowMatching
from ea_dit.diffusion.guidance import Guidance
from ea_dit.diffusion.loop import (
    Cancelled,
    Draw,
    Memory,
    Sampler,
    denoise,
    denoise_steps,
    draws,
)
from ea_dit.diffusion.timesteps import SigmaSampling

__all__ = [
    "Cancelled",
    "Draw",
    "EulerFlowSampler",
    "FlowMatching",
    "Guidance",
    "Memory",
    "Sampler",
    "SigmaSampling",
    "denoise",
    "denoise_steps",
    "draws",
]
