"""MMDiT of EasyAnimate V5 and V5.1: joint attention of video and text tokens."""

from ea_dit.families.mmdit.config import MMDiTConfig
from ea_dit.families.mmdit.model import MMDiT

__all__ = ["MMDiT", "MMDiTConfig"]
