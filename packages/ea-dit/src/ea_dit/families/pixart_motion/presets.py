"""Released sizes, as edits of one base: PixArt-XL/2."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ea_dit.families.pixart_motion.config import MotionConfig, PixArtMotionConfig

_IMAGE = PixArtMotionConfig()
_V1 = replace(_IMAGE, motion=(MotionConfig(grid=2),))
_V2 = replace(_IMAGE, motion=(MotionConfig(),), num_skips=13)
_V3 = replace(
    _V2,
    in_channels=12,
    clip_channels=768,
    motion=(
        MotionConfig(num_attention_heads=16),
        MotionConfig(num_attention_heads=16, attention=("temporal", "global")),
    ),
)
# Which sample_size the files of V2 have is not known; 128 brings size conditions with it.
_LARGE = {"sample_size": 128, "position_scale": 2, "size_conditions": True}

PRESETS: Mapping[str, PixArtMotionConfig] = MappingProxyType(
    {
        "v1-image": _IMAGE,
        "v1-t2v": _V1,
        "v2-t2v": _V2,
        "v2-t2v-128": replace(_V2, **_LARGE),
        "v3-inp": _V3,
    }
)
"""Configurations by "<version>-<variant>"."""
