"""Sizes: aspect buckets, token budgets, buckets of resolution and length, batch sizes."""
