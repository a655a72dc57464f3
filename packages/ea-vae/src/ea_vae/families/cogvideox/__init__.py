"""CogVideoX-style video autoencoder; no released EasyAnimate model uses it, its training code does."""
