"""Released sizes (XL/2), as edits of one base."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ea_dit.families.stdit.config import STDIT, STDiTConfig

_V11 = STDiTConfig()
_V10 = replace(_V11, architecture=STDIT, model_max_length=120)

PRESETS: Mapping[str, STDiTConfig] = MappingProxyType(
    {
        "v1.0-16x256": replace(_V10, input_size=(16, 32, 32), space_scale=0.5),
        "v1.0-16x512": replace(_V10, input_size=(16, 64, 64)),
        "v1.0-64x512": replace(_V10, input_size=(64, 64, 64), time_scale=2 / 3),
        "v1.1": _V11,
    }
)
"""Configurations by version, and for 1.0 by frames and side in pixels (it has a model per size)."""
