"""Video diffusion transformers, schedulers, text encoders and the tensor-to-tensor generation pipeline."""
