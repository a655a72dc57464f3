"""Attention, norms, rotary embeddings and weight loading for the EA video-diffusion packages."""
