"""Schedules, targets, guidance and the denoise loop: the same objects for training and sampling."""

from ea_dit.diffusion.flow import EulerFlowSampler, FlowMatching
from ea_dit.diffusion.guidance import Guidance
from ea_dit.diffusion.loop import Cancelled, Sampler, denoise
from ea_dit.diffusion.timesteps import SigmaSampling

__all__ = [
    "Cancelled",
    "EulerFlowSampler",
    "FlowMatching",
    "Guidance",
    "Sampler",
    "SigmaSampling",
    "denoise",
]
