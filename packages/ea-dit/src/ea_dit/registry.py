"""Which transformer a directory holds, and loading and saving it."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch

from ea_dit.families.mmdit import keymap as mmdit_keymap
from ea_dit.families.mmdit.config import CLASS_NAME as MMDIT
from ea_dit.families.mmdit.config import MMDiTConfig
from ea_dit.families.mmdit.model import MMDiT
from ea_kernels.runtime.device import resolve_device, resolve_dtype
from ea_kernels.runtime.weights import KeyMap, load_into, read_config, save_checkpoint, stored_shapes


class Family(Protocol):
    """What the registry knows about a family."""

    def read(self, values: Mapping[str, Any]) -> MMDiTConfig:
        """Turns a released config file into the family's config."""
        ...

    def build(self, config: MMDiTConfig) -> MMDiT:
        """Makes the network."""
        ...

    def key_map(self, config: MMDiTConfig, *, diffusers: bool = False) -> KeyMap:
        """Returns the names in released files."""
        ...

    def is_diffusers_layout(self, names: list[str]) -> bool:
        """Tells the layout of a checkpoint by its names."""
        ...


class _MMDiTFamily:
    read = staticmethod(MMDiTConfig.from_dict)
    build = staticmethod(MMDiT)
    key_map = staticmethod(mmdit_keymap.key_map)
    is_diffusers_layout = staticmethod(mmdit_keymap.is_diffusers_layout)


FAMILIES: Mapping[str, Family] = MappingProxyType({MMDIT: _MMDiTFamily()})
"""Families by the class name in released config files."""


def family_of(values: Mapping[str, Any]) -> Family:
    """Returns the family that a released transformer config belongs to.

    Raises:
        ValueError: If it belongs to none, naming those that are known.
    """
    name = values.get("_class_name")
    family = FAMILIES.get(str(name))
    if family is None:
        raise ValueError(f"unknown transformer class {name!r} in config.json; known: {', '.join(FAMILIES)}")
    return family


def load_transformer(
    path: str | Path,
    *,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "cpu",
) -> MMDiT:
    """Loads a transformer from a directory with `config.json` and safetensors.

    EasyAnimate's and diffusers' layouts are told apart by the tensor names. Loading is strict: every tensor
    of the file has a place and every place is filled.

    Args:
        path: The directory.
        dtype: Number type such as "float32" or `torch.bfloat16`, "auto" for what suits the device; None
            keeps the stored one.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: Unknown class, unsupported value, or a key that is missing, left over or misshapen
            (named).
    """
    path = Path(path)
    target = resolve_device(device)
    number = None if dtype is None else resolve_dtype(dtype, target)
    values = read_config(path)
    try:
        family = family_of(values)
        config = family.read(values)
    except ValueError as error:
        raise ValueError(f"{path}/config.json: {error}") from None
    diffusers = family.is_diffusers_layout(list(stored_shapes(path)))
    key_map = family.key_map(config, diffusers=diffusers)
    return load_into(lambda: family.build(config), path, key_map=key_map, dtype=number, device=target)


def save_transformer(
    model: MMDiT,
    directory: str | Path,
    *,
    dtype: torch.dtype | None = None,
    diffusers: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Writes a transformer in a released layout: `config.json` and one safetensors file.

    Args:
        model: The model.
        directory: Where to; made if missing.
        dtype: Dtype to store; None keeps that of the weights.
        diffusers: The layout of diffusers instead of EasyAnimate's.
        metadata: Text for the file's header.

    Returns:
        The path of the weight file.
    """
    values = model.config.to_dict()
    key_map = family_of(values).key_map(model.config, diffusers=diffusers)
    return save_checkpoint(
        Path(directory),
        config=values,
        state_dict=model.state_dict(),
        key_map=key_map,
        dtype=dtype,
        metadata=metadata,
    )
