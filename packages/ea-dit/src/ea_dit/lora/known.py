"""Which release a LoRA file was made for, told by its names alone."""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from ea_dit.families.hunyuan3d.presets import PRESETS as HUNYUAN3D
from ea_dit.families.mmdit.presets import PRESETS as MMDIT
from ea_dit.families.pixart_motion.presets import PRESETS as PIXART
from ea_dit.families.stdit.presets import PRESETS as STDIT
from ea_dit.lora.document import LoraHeader
from ea_dit.lora.targets import Targets, targets_of


def known_targets(header: LoraHeader) -> Targets | None:
    """The targets of the first release that has all layers of a file, by name; None if there is none."""
    layers = [layer for layer in header.layers if layer.network == "transformer"]
    for config in _configs():
        targets = targets_of(config)
        if all(targets.find(layer.name, flat=layer.spelling.flat) for layer in layers):
            return targets
    return None


def _configs() -> Iterator[Any]:
    """One release of every set of names: what a network reads beside the latents changes no name."""
    seen: set[tuple[Any, ...]] = set()
    for presets in (MMDIT, PIXART, STDIT, HUNYUAN3D):
        for config in presets.values():
            values = (getattr(config, field.name) for field in fields(config) if field.name != "in_channels")
            key = (type(config), *values)
            if key not in seen:
                seen.add(key)
                yield config
