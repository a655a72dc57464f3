"""Denoisers and autoencoders in a directory, as far as their configs and headers tell: no weight is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ea_dit.families.stdit import STDiTConfig
from ea_dit.pipelines.layout import TRANSFORMER, VAE
from ea_dit.registry import family_of, read_transformer_config
from ea_kernels.runtime.completeness import Faults, check_shapes, compare_shapes
from ea_kernels.runtime.files import CONFIG_NAME
from ea_kernels.runtime.stored import StoredTensor, stored_tensors
from ea_kernels.runtime.weights import KeyMap, build_on_meta, read_config, state_shapes
from ea_vae.registry import detect_family

Names = Literal["easyanimate", "diffusers", "open-sora"]
"""Whose names the tensors have."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network of a directory.

    Attributes:
        kind: "transformer" or "vae".
        path: Its folder or file.
        values: Content of config.json, empty without one.
        config: What its family understands of it.
        build: Makes the network.
        key_maps: Tables of the layouts that its family has.
        layout: Which of them the tensors are in.
        tensors: What is stored.
    """

    kind: str
    path: Path
    values: Mapping[str, Any]
    config: Any
    build: Callable[[], nn.Module]
    key_maps: Mapping[str, KeyMap]
    layout: Names
    tensors: tuple[StoredTensor, ...]

    @property
    def class_name(self) -> str:
        """Class in the released files."""
        written = self.config.to_dict()
        return str(written.get("_class_name") or written["architectures"][0])

    @property
    def layouts(self) -> str:
        """In words, whose names the tensors have: of both where there is no difference."""
        here = self.key_maps[self.layout]
        return " and ".join(name for name, table in self.key_maps.items() if table == here)

    @cached_property
    def expected(self) -> Shapes:
        """Our names and shapes of the network."""
        return state_shapes(build_on_meta(self.build))

    def faults(self) -> Faults:
        """What is missing, left over or misshapen."""
        return compare_shapes(self._stored, self.expected, key_map=self.key_maps[self.layout])

    def check(self) -> None:
        """Refuses tensors that are not exactly the network's.

        Raises:
            ValueError: On the first fault.
        """
        table = self.key_maps[self.layout]
        check_shapes(self._stored, self.expected, key_map=table, where=str(self.path))

    @property
    def _stored(self) -> Shapes:
        return {tensor.name: tensor.shape for tensor in self.tensors}


def read_network(path: Path, *, motion_module: Path | None = None, allow_pickle: bool = False) -> Network:
    """Reads what a network is.

    Args:
        path: Its folder, or a weight file of a family that needs no config.
        motion_module: V1's motion modules, which belong to the same network.
        allow_pickle: Accept weights in pickles, read without running code.

    Raises:
        ValueError: If the config is not understood, or a file is missing, damaged or cut off.
    """
    values = read_config(path) if (path / CONFIG_NAME).is_file() else {}
    if "down_block_types" in values:
        return _read_vae(path, values, stored_tensors(path, allow_pickle=allow_pickle))
    config = read_transformer_config(path, motion_module=motion_module, allow_pickle=allow_pickle)
    tensors = stored_tensors(path, allow_pickle=allow_pickle)
    if motion_module is not None:
        tensors += stored_tensors(motion_module, allow_pickle=allow_pickle)
    family = family_of(config.to_dict())
    own: Names = "open-sora" if isinstance(config, STDiTConfig) else "easyanimate"
    key_maps = {own: family.released_names(config)}
    layout = own
    if family.is_diffusers_layout is not None:
        key_maps["diffusers"] = family.released_names(config, diffusers=True)
        layout = "diffusers" if family.is_diffusers_layout([tensor.name for tensor in tensors]) else own
    return Network(
        kind=TRANSFORMER,
        path=path,
        values=values,
        config=config,
        build=partial(family.build, config),
        key_maps=key_maps,
        layout=layout,
        tensors=tensors,
    )


def _read_vae(path: Path, values: Mapping[str, Any], tensors: tuple[StoredTensor, ...]) -> Network:
    try:
        spec = detect_family(values)
        config = spec.config.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{path / CONFIG_NAME}: {error}") from None
    return Network(
        kind=VAE,
        path=path,
        values=values,
        config=config,
        build=partial(spec.model, config),
        key_maps={"easyanimate": spec.key_map, "diffusers": spec.key_map},
        layout="easyanimate",
        tensors=tensors,
    )
