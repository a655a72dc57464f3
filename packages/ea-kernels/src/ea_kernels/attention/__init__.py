"""Attention: what can be asked for (`spec`), who computes it (`select`), and the backends."""

from ea_kernels.attention.select import resolve_attention
from ea_kernels.attention.spec import AttentionFunction

__all__ = ["AttentionFunction", "resolve_attention"]
