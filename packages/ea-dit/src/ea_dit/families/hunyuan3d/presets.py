"""Released sizes."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ea_dit.families.hunyuan3d.config import Hunyuan3DConfig

_INPAINT = Hunyuan3DConfig()

PRESETS: Mapping[str, Hunyuan3DConfig] = MappingProxyType(
    {
        "v4-inp": _INPAINT,
        "v4-t2v": replace(_INPAINT, in_channels=4, enable_clip_in_inpaint=False),
    }
)
"""Configurations by "<version>-<variant>". Released files are of the inpaint variant; the sizes are those of
the HunyuanDiT that V4 starts from."""
