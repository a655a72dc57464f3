"""Attention: what can be asked for (`spec`), who computes it (`select`), and the backends."""

from ea_kernels.attention.patterns import packed_attention, window_attention
from ea_kernels.attention.select import Choice, choose, describe, resolve_attention
from ea_kernels.attention.spec import AttentionFunction, AttentionShape

__all__ = [
    "AttentionFunction",
    "AttentionShape",
    "Choice",
    "choose",
    "describe",
    "packed_attention",
    "resolve_attention",
    "window_attention",
]
