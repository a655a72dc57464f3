"""MAGVIT-style video autoencoder of V2 to V5.1."""
