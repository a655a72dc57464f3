"""Causal video autoencoders (MAGVIT, 4x8x8) in the EasyAnimate and diffusers checkpoint layouts."""

from ea_vae.families.magvit.config import MagvitConfig
from ea_vae.families.magvit.model import MagvitVae
from ea_vae.geometry import LatentGeometry, crop_video
from ea_vae.layers.streaming import TemporalCache
from ea_vae.posterior import Posterior

__all__ = ["LatentGeometry", "MagvitConfig", "MagvitVae", "Posterior", "TemporalCache", "crop_video"]
