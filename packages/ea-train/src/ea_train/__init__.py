"""One trainer for video autoencoders and diffusion transformers."""
