"""Scores of generated frames that a model can be taught to raise."""
