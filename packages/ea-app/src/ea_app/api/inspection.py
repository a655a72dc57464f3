"""What a model directory holds, from configs and headers: no weight is read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ea_app.api.networks import Network, read_network
from ea_dit.pipelines.generations import Generation, generation_of
from ea_dit.pipelines.layout import IMAGE_ENCODER, TRANSFORMER, Layout, find_layout, find_motion_module
from ea_dit.pipelines.variants import traits_of
from ea_kernels.runtime.files import CONFIG_NAME, read_config
from ea_kernels.runtime.stored import StoredTensor, stored_tensors


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a model.

    Attributes:
        name: Such as "transformer".
        path: Its folder or file.
        class_name: What it is, in the words of its config.
        parameters: Numbers in its tensors; 0 for parts without weights.
        dtypes: Their number types by share, the largest first, such as ("BF16",).
        size: Bytes of its tensors.
    """

    name: str
    path: Path
    class_name: str
    parameters: int
    dtypes: tuple[str, ...]
    size: int


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a directory is.

    Attributes:
        directory: It.
        generation: Release of its transformer, None without a transformer.
        variant: What its transformer is given beside the text, None without a transformer.
        layout: Whose tensor names it has.
        modes: What it can be asked for.
        parts: Its parts.
    """

    directory: Path
    generation: Generation | None
    variant: str | None
    layout: str
    modes: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def family(self) -> str:
        """Such as "EasyAnimate V5.1"."""
        return "autoencoder" if self.generation is None else self.generation.name


def inspect_model(directory: str | Path, *, allow_pickle: bool = False) -> Inspection:
    """Tells what a model directory, or the folder of one network, is.

    Args:
        directory: It.
        allow_pickle: Look into weights in pickles, without running code.

    Raises:
        ValueError: If it is none, or a part is not understood or damaged.
    """
    directory = Path(directory)
    layout, networks = _networks(directory, allow_pickle=allow_pickle)
    transformer = next((network for network in networks if network.kind == TRANSFORMER), None)
    traits = None if transformer is None else traits_of(transformer.config)
    main = networks[0] if transformer is None else transformer
    encoders = () if layout is None else _encoders(layout)
    return Inspection(
        directory=directory,
        generation=None if transformer is None else generation_of(transformer.config),
        variant=None if traits is None else traits.variant,
        layout=main.layouts,
        modes=() if traits is None else tuple(sorted(traits.modes)),
        parts=(
            *(_part(network.kind, network.path, network.class_name, network.tensors) for network in networks),
            *(
                _part(name, path, _class_of(path), stored_tensors(path, allow_pickle=allow_pickle))
                for name, path in encoders
            ),
        ),
    )


def _networks(directory: Path, *, allow_pickle: bool) -> tuple[Layout | None, list[Network]]:
    """The networks, and where the other parts are if it is a whole model."""
    if (directory / CONFIG_NAME).is_file():
        return None, [read_network(directory, allow_pickle=allow_pickle)]
    layout = find_layout(directory, allow_pickle=allow_pickle)
    transformer = read_network(layout.transformer, allow_pickle=allow_pickle)
    motion = None
    if not traits_of(transformer.config).moves:
        motion = find_motion_module(directory, allow_pickle=allow_pickle)
    if motion is not None:
        transformer = read_network(layout.transformer, motion_module=motion, allow_pickle=allow_pickle)
    return layout, [transformer, read_network(layout.vae, allow_pickle=allow_pickle)]


def _encoders(layout: Layout) -> Iterator[tuple[str, Path]]:
    yield "text_encoder", layout.text_encoder
    if layout.second_text_encoder is not None:
        yield "text_encoder_2", layout.second_text_encoder
    if layout.image_encoder is not None:
        yield IMAGE_ENCODER, layout.image_encoder


def _class_of(folder: Path) -> str:
    values = read_config(folder)
    return str(values.get("_class_name") or (values.get("architectures") or [values.get("model_type")])[0])


def _part(name: str, path: Path, class_name: str, tensors: Iterable[StoredTensor]) -> Part:
    counts: dict[str, int] = {}
    size = 0
    for tensor in tensors:
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.count
        size += tensor.size
    return Part(
        name=name,
        path=path,
        class_name=class_name,
        parameters=sum(counts.values()),
        dtypes=tuple(sorted(counts, key=lambda dtype: -counts[dtype])),
        size=size,
    )
