"""Released sizes, as edits of one base."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from ea_dit.families.mmdit.config import MMDiTConfig

_V51_12B = MMDiTConfig(add_ref_latent_in_control_model=True)
_V51_7B = replace(_V51_12B, num_layers=36, mmdit_layers=18)
_V5_TEXT = {
    "text_embed_dim": 1024,
    "text_embed_dim_t5": 2048,
    "add_norm_text_encoder": False,
    "enable_text_attention_mask": False,
    "add_ref_latent_in_control_model": False,
}
_SIZES = {
    "v5.1-12b": _V51_12B,
    "v5.1-7b": _V51_7B,
    "v5-12b": replace(_V51_12B, **_V5_TEXT),
    "v5-7b": replace(_V51_7B, **_V5_TEXT),
}
_CHANNELS = {
    "v5.1": {"t2v": 16, "inp": 33, "control": 48, "camera": 38},
    "v5": {"t2v": 16, "inp": 33, "control": 32},
}


def _presets() -> Mapping[str, MMDiTConfig]:
    presets = {}
    for size, config in _SIZES.items():
        for variant, channels in _CHANNELS[size.split("-")[0]].items():
            presets[f"{size}-{variant}"] = replace(config, in_channels=channels)
    return MappingProxyType(presets)


PRESETS: Mapping[str, MMDiTConfig] = _presets()
"""Configurations by "<version>-<size>-<variant>", for example "v5.1-12b-inp"."""
