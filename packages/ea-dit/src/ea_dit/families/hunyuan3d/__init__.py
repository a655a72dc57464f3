"""The 3D HunyuanDiT of EasyAnimate V4: full attention over a video, two text encoders, image tokens."""

from ea_dit.families.hunyuan3d.config import Hunyuan3DConfig
from ea_dit.families.hunyuan3d.model import Hunyuan3D

__all__ = ["Hunyuan3D", "Hunyuan3DConfig"]
