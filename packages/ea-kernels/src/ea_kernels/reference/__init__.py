"""Eager truth: the shortest correct statement of every op, in float32, that all backends are compared with."""
