"""Attention, norms, rotary embeddings and weight loading for the EA video-diffusion packages."""

from ea_kernels import nn, ops

__all__ = ["nn", "ops"]
