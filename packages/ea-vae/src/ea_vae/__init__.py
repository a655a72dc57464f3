"""Causal video autoencoders (MAGVIT, 4x8x8) in the EasyAnimate and diffusers checkpoint layouts."""
