"""What the autoencoder families share: layers, and reading the values of their configs."""
