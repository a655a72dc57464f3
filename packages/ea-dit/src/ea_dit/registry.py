"""Which transformer a directory holds, and loading and saving it.

A family is one entry of `FAMILIES`. Every transformer is called the same way: noisy latents (B, C, T, H, W),
a timestep (B), text states, states of a second text encoder where there is one; by keyword `conditioning`,
`recompute` and, where padding matters, `text_mask_BM` and `second_text_mask_BN`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
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
from ea_dit.families.pixart_motion import PixArtMotion, PixArtMotionConfig
from ea_dit.families.pixart_motion import keymap as pixart_keymap
from ea_dit.families.pixart_motion.motion_file import with_motion_file
from ea_dit.families.pixart_motion.released import CLASS_NAMES as PIXART
from ea_dit.families.stdit import STDiT, STDiTConfig
from ea_dit.families.stdit import keymap as stdit_keymap
from ea_dit.families.stdit.config import CLASS_NAMES as STDIT
from ea_dit.families.stdit.config import architecture_of
from ea_dit.families.stdit.released import config_of_shapes
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

Shape: TypeAlias = tuple[int, ...]
Transformer: TypeAlias = MMDiT | PixArtMotion | Hunyuan3D | STDiT
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
        with_motion_file: Config of the video model from that of the image model and the shapes in a file of
            motion modules; None if the family has no such files.
        recognises: Tells the family by other keys of a config file without a class name; None if its files
            always have one.
        config_of_shapes: Config of a checkpoint without config file by its tensors, None for those of another
            network; None if the family has no such checkpoints.
    """

    class_names: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], Any]
    build: Callable[[Any], Transformer]
    key_map: Callable[..., KeyMap]
    is_diffusers_layout: Callable[[Iterable[str]], bool] | None = None
    with_motion_file: Callable[[Mapping[str, Any], Mapping[str, Shape]], Mapping[str, Any]] | None = None
    recognises: Callable[[Mapping[str, Any]], bool] | None = None
    config_of_shapes: Callable[[Mapping[str, Shape]], dict[str, Any] | None] | None = None

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
        class_names=PIXART,
        read=PixArtMotionConfig.from_dict,
        build=PixArtMotion,
        key_map=pixart_keymap.key_map,
        with_motion_file=with_motion_file,
    ),
    Family(
        class_names=(HUNYUAN3D,),
        read=Hunyuan3DConfig.from_dict,
        build=Hunyuan3D,
        key_map=hunyuan3d_keymap.key_map,
    ),
    Family(
        class_names=STDIT,
        read=STDiTConfig.from_dict,
        build=STDiT,
        key_map=stdit_keymap.key_map,
        recognises=lambda values: architecture_of(values) is not None,
        config_of_shapes=config_of_shapes,
    ),
)


def family_of(values: Mapping[str, Any]) -> Family:
    """Returns the family that a released transformer config belongs to.

    Raises:
        ValueError: If it belongs to none, naming those that are known.
    """
    name = values.get("_class_name", values.get("model_type"))
    for family in FAMILIES:
        if name in family.class_names or (family.recognises is not None and family.recognises(values)):
            return family
    known = ", ".join(known for family in FAMILIES for known in family.class_names)
    raise ValueError(f"unknown transformer class {name!r} in config.json; known: {known}")


def read_transformer_config(
    path: str | Path,
    *,
    motion_module: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    allow_pickle: bool = False,
) -> Any:
    """Reads what a directory's transformer is, without its weights; arguments as for `load_transformer`.

    Returns:
        The config of its family.

    Raises:
        ValueError: Unknown class or unsupported value.
    """
    return _understood(Path(path), motion_module, overrides, allow_pickle=allow_pickle)[1]


def load_transformer(
    path: str | Path,
    *,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device = "cpu",
    motion_module: str | Path | None = None,
    weights: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    allow_pickle: bool = False,
) -> Transformer:
    """Loads a transformer from a directory with `config.json` and safetensors.

    EasyAnimate's and diffusers' layouts are told apart by the tensor names. Loading is strict: every tensor
    of the file has a place and every place is filled.

    Args:
        path: The directory.
        dtype: Number type such as "float32" or `torch.bfloat16`, "auto" for what suits the device; None
            keeps the stored one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        motion_module: File (or directory) of V1's motion modules, which complete the image model in `path`:
            every tensor of the video model must be in exactly one of the two.
        weights: File (or directory) to read the tensors from instead of `path`, which then gives only the
            config: a personalised checkpoint.
        overrides: Values that replace those of `config.json` (`transformer_additional_kwargs` of released
            yaml files).
        allow_pickle: Accept weights in pickles such as `.pth`, read without running code.

    Returns:
        The model in evaluation mode.

    Raises:
        ValueError: Unknown class, unsupported value, or a key that is missing, left over or misshapen
            (named).
    """
    target = resolve_device(device)
    stored = _stored(Path(path), motion_module, weights, overrides, allow_pickle=allow_pickle)
    return load_into(
        stored.build,
        stored.source,
        key_map=stored.key_map,
        dtype=None if dtype is None else resolve_dtype(dtype, target),
        device=target,
        allow_pickle=allow_pickle,
        also=stored.also,
    )


def check_transformer(
    path: str | Path,
    *,
    motion_module: str | Path | None = None,
    weights: str | Path | None = None,
    allow_pickle: bool = False,
) -> None:
    """Refuses by config and headers what `load_transformer` would refuse; arguments and errors as there."""
    stored = _stored(Path(path), motion_module, weights, None, allow_pickle=allow_pickle)
    check_stored(
        stored.build, stored.source, key_map=stored.key_map, allow_pickle=allow_pickle, also=stored.also
    )


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """A transformer in files: how it is built, where its tensors are, and what they are called."""

    build: Callable[[], Transformer]
    source: Path
    key_map: KeyMap
    also: tuple[Path, ...]


def _stored(
    path: Path,
    motion_module: str | Path | None,
    weights: str | Path | None,
    overrides: Mapping[str, Any] | None,
    *,
    allow_pickle: bool,
) -> _Stored:
    family, config = _understood(path, motion_module, overrides, allow_pickle=allow_pickle)
    source = path if weights is None else Path(weights)
    detect = family.is_diffusers_layout
    diffusers = detect is not None and detect(list(stored_shapes(source, allow_pickle=allow_pickle)))
    return _Stored(
        build=lambda: family.build(config),
        source=source,
        key_map=family.released_names(config, diffusers=diffusers),
        also=() if motion_module is None else (Path(motion_module),),
    )


def _understood(
    path: Path,
    motion_module: str | Path | None,
    overrides: Mapping[str, Any] | None,
    *,
    allow_pickle: bool,
) -> tuple[Family, Any]:
    """Family and config of a directory."""
    values = _released_config(path, allow_pickle=allow_pickle) | dict(overrides or {})
    with _naming(path / CONFIG_NAME):
        family = family_of(values)
    if motion_module is not None:
        values = _with_motion(family, values, Path(motion_module), allow_pickle=allow_pickle)
    with _naming(path / CONFIG_NAME):
        return family, family.read(values)


def _released_config(path: Path, *, allow_pickle: bool) -> dict[str, Any]:
    """The config file of a checkpoint; some families tell by the tensors where there is none."""
    if path.exists() and not (path / CONFIG_NAME).exists():
        shapes = stored_shapes(path, allow_pickle=allow_pickle)
        for family in FAMILIES:
            if family.config_of_shapes is not None:
                with _naming(path):
                    values = family.config_of_shapes(shapes)
                if values is not None:
                    return values
    return read_config(path)


def _with_motion(
    family: Family, values: Mapping[str, Any], motion_module: Path, *, allow_pickle: bool
) -> Mapping[str, Any]:
    if family.with_motion_file is None:
        raise ValueError(f"{family.class_names[0]} has no separate motion modules, got {motion_module}")
    shapes = stored_shapes(motion_module, allow_pickle=allow_pickle)
    with _naming(motion_module):
        return family.with_motion_file(values, shapes)


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Puts the name of a file in front of what is wrong with it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    except TypeError as error:
        raise ValueError(f"{file}: a value is of the wrong kind ({error})") from None


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
