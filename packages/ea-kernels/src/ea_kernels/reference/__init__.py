"""Eager truth: the shortest correct statement of every op, in float32. All backends are compared with it."""
