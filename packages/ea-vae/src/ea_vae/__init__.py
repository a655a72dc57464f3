"""Video autoencoders of EasyAnimate and Open-Sora in their released and in diffusers' checkpoint layouts."""

from ea_vae.execution import ExecutionPlan, VideoAutoencoder, latents_to_frames, stream_frames
from ea_vae.families.cogvideox.config import CogVideoXConfig
from ea_vae.families.cogvideox.model import CogVideoXVae
from ea_vae.families.kl2d.config import ImageVaeConfig
from ea_vae.families.kl2d.model import ImageVae
from ea_vae.families.magvit.config import MagvitConfig
from ea_vae.families.magvit.model import MagvitVae
from ea_vae.geometry import LatentGeometry, crop_video
from ea_vae.latents import Posterior, scale_latents, to_unit_range, unscale_latents
from ea_vae.layers.streaming import TemporalCache
from ea_vae.registry import FAMILIES, VaeSpec, load_vae, save_vae

__all__ = [
    "FAMILIES",
    "CogVideoXConfig",
    "CogVideoXVae",
    "ExecutionPlan",
    "ImageVae",
    "ImageVaeConfig",
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
    "stream_frames",
    "to_unit_range",
    "unscale_latents",
]
