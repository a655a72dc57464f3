"""PixArt with motion modules: the denoisers of EasyAnimate V1, V2, V3 and the image model they start from."""

from ea_dit.families.pixart_motion.config import MotionConfig, PixArtMotionConfig
from ea_dit.families.pixart_motion.model import PixArtMotion

__all__ = ["MotionConfig", "PixArtMotion", "PixArtMotionConfig"]
