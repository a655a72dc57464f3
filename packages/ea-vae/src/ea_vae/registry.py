"""Autoencoder families by name; loading and saving in released layouts."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ea_kernels.runtime.device import resolve_device, resolve_dtype
from ea_kernels.runtime.files import CONFIG_NAME
from ea_kernels.runtime.weights import (
    KeyMap,
    check_stored,
    load_into,
    read_config,
    save_checkpoint,
    stored_shapes,
)
from ea_vae.execution import AutoencoderConfig, VideoAutoencoder
from ea_vae.families.cogvideox import config as cogvideox
from ea_vae.families.cogvideox.keymap import KEY_MAP as COGVIDEOX_KEYS
from ea_vae.families.cogvideox.model import CogVideoXVae
from ea_vae.families.cogvideox.presets import PRESETS as COGVIDEOX_PRESETS
from ea_vae.families.kl2d import config as kl2d
from ea_vae.families.kl2d.keymap import KEY_MAP as KL2D_KEYS
from ea_vae.families.kl2d.model import ImageVae
from ea_vae.families.kl2d.presets import PRESETS as KL2D_PRESETS
from ea_vae.families.magvit import config as magvit
from ea_vae.families.magvit.keymap import KEY_MAP as MAGVIT_KEYS
from ea_vae.families.magvit.model import MagvitVae
from ea_vae.families.magvit.presets import PRESETS as MAGVIT_PRESETS


@dataclass(frozen=True, kw_only=True)
class VaeSpec:
    """One family.

    Attributes:
        name: Its folder under `families`.
        config: Class of its configuration.
        model: Class of its network, made from a configuration.
        key_map: Released tensor names to ours.
        presets: Released sizes by name.
        block_types: Encoder stage names by which a config.json of this family is recognised.
        mark: A released tensor name that only this family has, for a config.json without stage names.
    """

    name: str
    config: type[AutoencoderConfig]
    model: type[VideoAutoencoder[Any]]
    key_map: KeyMap
    presets: Mapping[str, AutoencoderConfig]
    block_types: frozenset[str]
    mark: str


FAMILIES: Mapping[str, VaeSpec] = {
    "kl2d": VaeSpec(
        name="kl2d",
        config=kl2d.ImageVaeConfig,
        model=ImageVae,
        key_map=KL2D_KEYS,
        presets=KL2D_PRESETS,
        block_types=frozenset((kl2d.DOWN_BLOCK,)),
        mark="encoder.down_blocks.0.resnets.0.conv1.weight",
    ),
    "magvit": VaeSpec(
        name="magvit",
        config=magvit.MagvitConfig,
        model=MagvitVae,
        key_map=MAGVIT_KEYS,
        presets=MAGVIT_PRESETS,
        block_types=frozenset(magvit.DOWN_BLOCKS),
        mark="encoder.down_blocks.0.convs.0.conv1.weight",
    ),
    "cogvideox": VaeSpec(
        name="cogvideox",
        config=cogvideox.CogVideoXConfig,
        model=CogVideoXVae,
        key_map=COGVIDEOX_KEYS,
        presets=COGVIDEOX_PRESETS,
        block_types=frozenset((cogvideox.DOWN_BLOCK,)),
        mark="encoder.down_blocks.0.resnets.0.conv1.conv.weight",
    ),
}


def detect_family(config: Mapping[str, Any], tensors: Collection[str] = ()) -> VaeSpec:
    """The family that a checkpoint belongs to.

    The class name in a config.json is not reliable (old video autoencoders carry the name of the image one),
    so the encoder's stages decide, or, where the config names none, the tensors.

    Args:
        config: Content of config.json.
        tensors: Released names of the stored tensors.

    Raises:
        ValueError: If no family has these stages.
    """
    stages = config.get("down_block_types")
    names = stages if isinstance(stages, str) else " ".join(map(str, stages or ()))
    for spec in FAMILIES.values():
        if any(name in names for name in spec.block_types) or (not names and spec.mark in tensors):
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
) -> VideoAutoencoder[Any]:
    """Load an autoencoder of any family from a directory in EasyAnimate's or diffusers' layout.

    Args:
        path: Directory with config.json and safetensors weights.
        dtype: Number type such as "float32" or `torch.bfloat16`, "auto" for what suits the device; None keeps
            the stored one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        allow_pickle: Accept weights in pickles such as `.bin`, read without running code.

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: If the config is not understood, or a tensor is missing, left over or misshapen.
    """
    path = Path(path)
    target = resolve_device(device)
    spec, config = _understood(path, allow_pickle=allow_pickle)
    return load_into(
        lambda: spec.model(config),
        path,
        key_map=spec.key_map,
        dtype=None if dtype is None else resolve_dtype(dtype, target),
        device=target,
        allow_pickle=allow_pickle,
    )


def read_vae_config(path: str | Path, *, allow_pickle: bool = False) -> AutoencoderConfig:
    """Read what a directory's autoencoder is, without its weights; arguments as for `load_vae`.

    Raises:
        ValueError: If the config is not understood.
    """
    return _understood(Path(path), allow_pickle=allow_pickle)[1]


def check_vae(path: str | Path, *, allow_pickle: bool = False) -> None:
    """Refuse by config and headers what `load_vae` would refuse; arguments and errors as there."""
    spec, config = _understood(Path(path), allow_pickle=allow_pickle)
    check_stored(lambda: spec.model(config), path, key_map=spec.key_map, allow_pickle=allow_pickle)


def _understood(path: Path, *, allow_pickle: bool) -> tuple[VaeSpec, AutoencoderConfig]:
    """Family and config of a directory."""
    released = read_config(path)
    try:
        spec = detect_family(
            released,
            () if released.get("down_block_types") else _tensor_names(path, allow_pickle=allow_pickle),
        )
        return spec, spec.config.from_dict(released)
    except ValueError as error:
        raise ValueError(f"{path / CONFIG_NAME}: {error}") from None
    except TypeError as error:
        raise ValueError(f"{path / CONFIG_NAME}: a value is of the wrong kind ({error})") from None


def save_vae(
    vae: VideoAutoencoder[Any],
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

    Raises:
        ValueError: If the released layout has no place for the config.
    """
    key_map = next(spec.key_map for spec in FAMILIES.values() if isinstance(vae, spec.model))
    return save_checkpoint(
        directory,
        config=vae.config.to_dict(),
        state_dict=vae.state_dict(),
        key_map=key_map,
        dtype=dtype,
        metadata=metadata,
    )


def _tensor_names(path: Path, *, allow_pickle: bool) -> Collection[str]:
    """Names of the stored tensors; none if they cannot be read, which loading will report better."""
    try:
        return stored_shapes(path, allow_pickle=allow_pickle)
    except ValueError:
        return ()
