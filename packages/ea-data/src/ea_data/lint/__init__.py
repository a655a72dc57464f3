"""Checks of a manifest before training: what is kept, what is dropped and why, and what is wrong."""
