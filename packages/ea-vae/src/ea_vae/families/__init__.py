"""Autoencoder families; a folder each, none imports another."""
