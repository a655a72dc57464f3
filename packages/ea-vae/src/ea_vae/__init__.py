"""Causal video autoencoders (MAGVIT, 4x8x8) in the EasyAnimate and diffusers checkpoint layouts."""

from ea_vae.execution import ExecutionPlan, VideoAutoencoder, latents_to_frames
from ea_vae.families.magvit.config import MagvitConfig
from ea_vae.families.magvit.model import MagvitVae
from ea_vae.geometry import LatentGeometry, crop_video
from ea_vae.latents import Posterior, scale_latents, to_unit_range, unscale_latents
from ea_vae.layers.streaming import TemporalCache
from ea_vae.registry import FAMILIES, VaeSpec, load_vae, save_vae

__all__ = [
    "FAMILIES",
    "ExecutionPlan",
    "LatentGeometry",
    "MagvitConfig",
    "MagvitVae",
    "Posterior",
    "TemporalCache",
    "VaeSpec",
    "VideoAutoencoder",
    "crop_video",
    "latents_to_frames",
    "load_vae",
    "save_vae",
    "scale_latents",
    "to_unit_range",
    "unscale_latents",
]
