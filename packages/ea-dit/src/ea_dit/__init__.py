"""Video diffusion transformers, schedulers, text encoders and the tensor-to-tensor generation pipeline."""

from ea_dit.registry import load_transformer, save_transformer
from ea_dit.types import Conditioning

__all__ = ["Conditioning", "load_transformer", "save_transformer"]
