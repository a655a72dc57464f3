"""Image autoencoder of Stable Diffusion, frame by frame: EasyAnimate V1 and Open-Sora."""
