"""Text encoders with their padding and mask rules."""

from ea_dit.text.base import TextEncoder, TextStates

__all__ = ["TextEncoder", "TextStates"]
