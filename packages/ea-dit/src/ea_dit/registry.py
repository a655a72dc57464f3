"""Which transformer a directory holds, and loading and saving it.

A family is one entry of `FAMILIES`. Every transformer is called the same way: noisy latents (B, C, T, H, W),
a timestep (B), text states, states of a second text encoder where there is one; by keyword `conditioning`,
`recompute` and, where padding matters, `text_mask_BM` and `second_text_mask_BN`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch

from ea_dit.families.hunyuan3d import Hunyuan3D, Hunyuan3DConfig
from ea_dit.families.hunyuan3d import keymap as hunyuan3d_keymap
from ea_dit.families.hunyuan3d.config import CLASS_NAME as HUNYUAN3D
from ea_dit.families.mmdit import MMDiT, MMDiTConfig
from ea_dit.families.mmdit import keymap as mmdit_keymap
from ea_dit.families.mmdit.config import CLASS_NAME as MMDIT
from ea_kernels.runtime.device import resolve_device, resolve_dtype
from ea_kernels.runtime.weights import KeyMap, load_into, read_config, save_checkpoint, stored_shapes

Transformer: TypeAlias = MMDiT | Hunyuan3D
"""Any of the networks; a further family joins with `|`."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """What the registry knows about a family of transformers.

    Attributes:
        class_names: Values of `_class_name` (or of `model_type` in files of transformers) that it reads.
        read: Turns a released config file into the family's config, which writes itself with `to_dict`.
        build: Makes the network of a config.
        key_map: Released names of a config's network; takes `diffusers=True` if there is such a layout.
        is_diffusers_layout: Tells the layout of diffusers by the names in a checkpoint; None if the family
            has only its own.
    """

    class_names: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], Any]
    build: Callable[[Any], Transformer]
    key_map: Callable[..., KeyMap]
    is_diffusers_layout: Callable[[Iterable[str]], bool] | None = None

    def released_names(self, config: Any, *, diffusers: bool = False) -> KeyMap:
        """Returns the names in released files.

        Raises:
            ValueError: If the layout of diffusers is asked for and the family has none.
        """
        if self.is_diffusers_layout is None:
            if diffusers:
                raise ValueError(f"{self.class_names[0]} has no layout of its own in diffusers")
            return self.key_map(config)
        return self.key_map(config, diffusers=diffusers)


FAMILIES: tuple[Family, ...] = (
    Family(
        class_names=(MMDIT,),
        read=MMDiTConfig.from_dict,
        build=MMDiT,
        key_map=mmdit_keymap.key_map,
        is_diffusers_layout=mmdit_keymap.is_diffusers_layout,
    ),
    Family(
        class_names=(HUNYUAN3D,),
        read=Hunyuan3DConfig.from_dict,
        build=Hunyuan3D,
        key_map=hunyuan3d_keymap.key_map,
    ),
)


def family_of(values: Mapping[str, Any]) -> Family:
    """Returns the family that a released transformer config belongs to.

    Raises:
        ValueError: If it belongs to none, naming those that are known.
    """
    name = values.get("_class_name", values.get("model_type"))
    for family in FAMILIES:
        if name in family.class_names:
            return family
    known = ", ".join(known for family in FAMILIES for known in family.class_names)
    raise ValueError(f"unknown transformer class {name!r} in config.json; known: {known}")


def load_transformer(
    path: str | Path,
    *,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "cpu",
) -> Transformer:
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
    detect = family.is_diffusers_layout
    diffusers = detect is not None and detect(list(stored_shapes(path)))
    key_map = family.released_names(config, diffusers=diffusers)
    return load_into(lambda: family.build(config), path, key_map=key_map, dtype=number, device=target)


def save_transformer(
    model: Transformer,
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

    Raises:
        ValueError: If the family has no layout in diffusers and it is asked for.
    """
    values = model.config.to_dict()
    key_map = family_of(values).released_names(model.config, diffusers=diffusers)
    return save_checkpoint(
        Path(directory),
        config=values,
        state_dict=model.state_dict(),
        key_map=key_map,
        dtype=dtype,
        metadata=metadata,
    )
