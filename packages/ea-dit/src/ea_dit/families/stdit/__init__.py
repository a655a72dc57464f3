"""STDiT of Open-Sora 1.0 and STDiT-2 of 1.1: attention in space, in time, and to the caption, in turn."""

from ea_dit.families.stdit.config import STDiTConfig
from ea_dit.families.stdit.model import STDiT

__all__ = ["STDiT", "STDiTConfig"]
