"""Autoencoder families by name; loading and saving in released layouts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ea_kernels.runtime.device import resolve_device, resolve_dtype
from ea_kernels.runtime.files import CONFIG_NAME
from ea_kernels.runtime.weights import KeyMap, load_into, read_config, save_checkpoint
from ea_vae.families.magvit.config import DOWN_BLOCKS, MagvitConfig
from ea_vae.families.magvit.keymap import KEY_MAP
from ea_vae.families.magvit.model import MagvitVae
from ea_vae.families.magvit.presets import PRESETS


@dataclass(frozen=True, kw_only=True)
class VaeSpec:
    """One family.

    Attributes:
        name: Its folder under `families`.
        config: Class of its configuration.
        model: Class of its network.
        key_map: Released tensor names to ours.
        presets: Released sizes by name.
        block_types: Encoder stage names by which a config.json of this family is recognised.
    """

    name: str
    config: type[MagvitConfig]
    model: type[MagvitVae]
    key_map: KeyMap
    presets: Mapping[str, MagvitConfig]
    block_types: frozenset[str]


FAMILIES: Mapping[str, VaeSpec] = {
    "magvit": VaeSpec(
        name="magvit",
        config=MagvitConfig,
        model=MagvitVae,
        key_map=KEY_MAP,
        presets=PRESETS,
        block_types=frozenset(DOWN_BLOCKS),
    )
}


def detect_family(config: Mapping[str, Any]) -> VaeSpec:
    """The family that a config.json belongs to.

    The class name in it is not reliable (old video autoencoders carry the name of the image one), so the
    encoder's stages decide.

    Raises:
        ValueError: If no family has these stages.
    """
    stages = config.get("down_block_types")
    names = stages if isinstance(stages, str) else " ".join(map(str, stages or ()))
    for spec in FAMILIES.values():
        if any(name in names for name in spec.block_types):
            return spec
    known = sorted(name for spec in FAMILIES.values() for name in spec.block_types)
    raise ValueError(
        f"down_block_types {stages!r} belong to no supported autoencoder; known: {', '.join(known)}"
    )


def load_vae(
    path: str | Path,
    *,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "cpu",
    allow_pickle: bool = False,
) -> MagvitVae:
    """Load an autoencoder from a directory in EasyAnimate's or diffusers' layout.

    Args:
        path: Directory with config.json and safetensors weights.
        dtype: Number type such as "float32" or `torch.bfloat16`, "auto" for what suits the device; None keeps
            the stored one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        allow_pickle: Accept `.bin` weights, read without running code.

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: If the config is not understood, or a tensor is missing, left over or misshapen.
    """
    path = Path(path)
    target = resolve_device(device)
    released = read_config(path)
    try:
        spec = detect_family(released)
        config = spec.config.from_dict(released)
    except ValueError as error:
        raise ValueError(f"{path / CONFIG_NAME}: {error}") from None
    return load_into(
        lambda: spec.model(config),
        path,
        key_map=spec.key_map,
        dtype=None if dtype is None else resolve_dtype(dtype, target),
        device=target,
        allow_pickle=allow_pickle,
    )


def save_vae(
    vae: MagvitVae,
    directory: str | Path,
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write an autoencoder in the released layout (config.json and one safetensors file).

    Args:
        vae: The model.
        directory: Made if it does not exist.
        dtype: Number type in the file; None keeps the model's.
        metadata: Text for the safetensors header, for example how it was trained.

    Returns:
        The weight file.
    """
    return save_checkpoint(
        directory,
        config=vae.config.to_dict(),
        state_dict=vae.state_dict(),
        key_map=KEY_MAP,
        dtype=dtype,
        metadata=metadata,
    )
