"""The whole bundled model: its recipes one after the other, then the folder that `ea-app` loads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ea_train.recipes import default_dit, default_dit_pictures, default_pictures, default_text, default_vae
from ea_train.recipes.default_dit import DefaultDitConfig
from ea_train.recipes.default_text import DefaultTextConfig
from ea_train.recipes.default_vae import DefaultVaeConfig

STAGES = ("pictures", "vae", "text", "dit_pictures", "dit")
"""Run folders, in order; stage `x_y` is the recipe `default-x-y`."""


@dataclass(frozen=True, kw_only=True)
class DefaultConfig:
    """Settings of `ea-train default`: those of its recipes.

    Attributes:
        pictures: The autoencoder on single pictures.
        vae: The autoencoder on clips.
        text: The text encoder.
        dit_pictures: The denoiser on single pictures.
        dit: The denoiser on clips and pictures.
    """

    pictures: DefaultVaeConfig
    vae: DefaultVaeConfig
    text: DefaultTextConfig
    dit_pictures: DefaultDitConfig
    dit: DefaultDitConfig


def config(preset: Literal["tiny", "cpu", "gpu"]) -> DefaultConfig:
    """Settings: every recipe at the same preset."""
    return DefaultConfig(
        pictures=default_pictures.config(preset),
        vae=default_vae.config(preset),
        text=default_text.config(preset),
        dit_pictures=default_dit_pictures.config(preset),
        dit=default_dit.config(preset),
    )


def inputs_of(stage: str, folder: Path, *, device: torch.device, data: Path | None) -> dict[str, Any]:
    """What a stage takes from the stages before it: the arguments of its recipe's `build`."""
    if stage == "text":
        return {}
    if stage == "pictures":
        return {"data": data}
    if stage == "vae":
        return {"data": data, "pictures": folder / "pictures" / "export"}
    return {
        "data": data,
        "init": folder / "dit_pictures" / "export" if stage == "dit" else None,
        "vae_directory": folder / "vae" / "export",
        "text_directory": folder / "text" / "export",
        "cache_directory": folder / "latents",
        "device": device,
    }


def model_info(settings: DefaultConfig) -> dict[str, Any]:
    """Content of `model.json`: the first clip size is the native one."""
    native = settings.dit.caches[0]
    size = f"{native.width}x{native.height}"
    sides = [side for size in settings.dit.caches for side in (size.width, size.height)]
    return {
        "name": "default",
        "description": f"Moving coloured shapes at {size}, for prompts in English and Chinese.",
        "native_width": native.width,
        "native_height": native.height,
        "native_frames": native.num_frames,
        "min_side": 16 * max(min(sides) // 32, 1),
        "max_side": 2 * max(sides),
        "max_frames": native.num_frames,
        "steps": 25,
        "guidance": 4.0,
        "fps": 8,
        "strength": 0.7,
    }
