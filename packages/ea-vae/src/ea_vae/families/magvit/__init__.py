"""MAGVIT-style causal video autoencoder of V5 and V5.1."""
