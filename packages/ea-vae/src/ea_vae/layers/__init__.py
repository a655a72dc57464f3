"""Layers that the autoencoder families share."""
