"""What becomes of one network in another layout: the names and types of its tensors, and its config."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ea_app.api.networks import Network
from ea_dit.families.mmdit import MMDiTConfig
from ea_kernels.runtime.pickles import is_pickle
from ea_kernels.runtime.stream import Rewritten, plan_rewrite, renames
from ea_vae import MagvitConfig

Layout = Literal["easyanimate", "diffusers"]

_INDEX_SUFFIX = ".index.json"
_WEIGHT_SUFFIXES = (".safetensors", _INDEX_SUFFIX)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A network and what becomes of it.

    Attributes:
        network: As it is.
        tensors: What is written.
        config: Content of the new config.json.
    """

    network: Network
    tensors: tuple[Rewritten, ...]
    config: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of the new tensors."""
        return sum(tensor.size for tensor in self.tensors)


def plan(network: Network, layout: Layout, dtype: torch.dtype | None) -> Step:
    """What becomes of a network; nothing is written.

    Args:
        network: As it is.
        layout: Whose names the tensors get.
        dtype: Of its floating-point tensors; None keeps the stored ones.

    Raises:
        ValueError: If it has no such layout, or its tensors are not exactly the network's.
    """
    if layout not in network.key_maps:
        known = ", ".join(sorted(network.key_maps))
        raise ValueError(f"{network.path}: a {network.class_name} has no {layout} layout, only {known}")
    if layout == "diffusers":
        _check_diffusers(network)
    network.check()
    old, new = network.key_maps[network.layout], network.key_maps[layout]
    names = {} if old == new else renames((tensor.name for tensor in network.tensors), old, new)
    return Step(
        network=network,
        tensors=plan_rewrite(network.tensors, names, dtype),
        config=_explicit(network),
    )


def _check_diffusers(network: Network) -> None:
    """Refuses parts of networks that diffusers' classes do not have."""
    config = network.config
    lacks = None
    if isinstance(config, MMDiTConfig):
        given = [name for name in ("ref_channels", "clip_channels") if getattr(config, name) is not None]
        lacks = f"place for {given[0]}, which must be null" if given else None
    elif not isinstance(config, MagvitConfig):
        lacks = f"{network.class_name} in its EasyAnimate pipelines"
    elif config.mid_attention != "none" or config.temporal_mode != "cached":
        lacks = "autoencoder but that of V5, which has no attention and decodes with a cache"
    if lacks is not None:
        raise ValueError(f"{network.path}: diffusers has no {lacks}")


def _explicit(network: Network) -> dict[str, Any]:
    """The config with everything said that the two libraries assume differently."""
    if not isinstance(network.config, MMDiTConfig | MagvitConfig):
        return dict(network.values)
    written = network.config.to_dict()
    # Null or 10000 stand for "all blocks" in EasyAnimate; diffusers wants their number. Old autoencoders
    # carry another class's name.
    fixed = {name: written[name] for name in ("_class_name", "mmdit_layers") if name in written}
    return {**written, **network.values, **fixed}


def notices_of(network: Network, layout: Layout) -> Iterator[str]:
    """What the user should know about a converted network."""
    config = network.config
    if (
        layout == "diffusers"
        and isinstance(config, MMDiTConfig)
        and config.num_joint_layers < config.num_layers
    ):
        yield (
            "diffusers 0.42 leaves out a projection in blocks without weights for text (7B models): the "
            "weights are the same, its results are not"
        )
    read = {tensor.file for tensor in network.tensors}
    for file in sorted(network.path.iterdir()):
        if is_weights(file) and file not in read and not file.name.endswith(_INDEX_SUFFIX):
            yield f"{file} was not taken along: other weights of the same network"


def is_weights(file: Path) -> bool:
    """Whether a file holds weights, in whatever form, or says which files do."""
    return file.name.endswith(_WEIGHT_SUFFIXES) or is_pickle(file)
