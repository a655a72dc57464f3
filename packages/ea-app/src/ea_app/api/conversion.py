"""From EasyAnimate's layout of a model to that of diffusers and back, from disk to disk.

Only names, shards and number types change, and the configs say explicitly what the other library would
assume otherwise; everything else is copied. Diffusers ignores keys that it does not know, so none are lost.
"""

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch

from ea_app.api.networks import Network, read_network
from ea_dit.families.mmdit import MMDiTConfig
from ea_dit.pipelines.layout import (
    SCHEDULER,
    SECOND_TEXT_ENCODER,
    TEXT_ENCODER,
    TOKENIZER,
    TRANSFORMER,
    VAE,
)
from ea_dit.pipelines.variants import Variant, traits_of
from ea_kernels.runtime.device import resolve_dtype
from ea_kernels.runtime.files import CONFIG_NAME, is_pickle, new_directory, read_json, write_json
from ea_kernels.runtime.stored import read_header
from ea_kernels.runtime.stream import MAX_SHARD, Rewritten, plan_rewrite, renames, write_rewritten
from ea_vae import MagvitConfig

Layout = Literal["easyanimate", "diffusers"]
PIPELINE_INDEX = "model_index.json"

_CLASSES: Mapping[Variant, str] = MappingProxyType(
    {
        "text": "EasyAnimatePipeline",
        "inpaint": "EasyAnimateInpaintPipeline",
        "control": "EasyAnimateControlPipeline",
        "camera": "EasyAnimateControlPipeline",
    }
)
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


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was done.

    Attributes:
        directory: The new directory.
        tensors: Number of tensors that were written.
        size: Bytes of everything that was written.
        notices: What the user should know.
    """

    directory: Path
    tensors: int
    size: int
    notices: tuple[str, ...]


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    layout: Layout,
    max_shard: int = MAX_SHARD,
    dtype: str = "keep",
    on_bytes: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Writes a model directory, or the folder of one network, in another layout.

    Nothing is written unless everything that can be checked is right, and the destination appears when all
    is done. It takes some megabytes of memory, whatever the size of the model.

    Args:
        source: Directory with `transformer/`, or the folder of a transformer or an autoencoder.
        destination: Must not exist, or be empty.
        layout: "easyanimate" or "diffusers".
        max_shard: Most bytes of tensors in a weight file.
        dtype: Number type of the transformer's and the autoencoder's floating-point tensors; "keep" for the
            stored ones, which loses nothing.
        on_bytes: Called with the bytes written so far and in all.

    Raises:
        ValueError: If a network is unknown, incomplete or damaged, has no such layout, or there is no space.
    """
    source, destination = Path(source), Path(destination)
    number = None if dtype == "keep" else resolve_dtype(dtype, torch.device("cpu"))
    _check_places(source, destination)
    folders = [source / name for name in (TRANSFORMER, VAE) if (source / name / CONFIG_NAME).is_file()]
    if not folders and not (source / CONFIG_NAME).is_file():
        raise ValueError(
            f"{source}: has neither {TRANSFORMER}/{CONFIG_NAME} nor {CONFIG_NAME}; give a model directory or "
            "the folder of one network (Open-Sora's releases have one layout only and load as they are)"
        )
    steps = [_plan(read_network(folder), layout, number) for folder in folders or [source]]
    copies = list(_other_files(source, {step.network.path for step in steps}))
    total = sum(step.size for step in steps) + sum(file.stat().st_size for file in copies)
    _check_space(destination, total)
    notices = [notice for step in steps for notice in _notices(step.network, layout)]
    meter = _Meter(on_bytes, total)
    with _naming_full_disk(destination), new_directory(destination) as draft:
        for step in steps:
            _write(step, draft / step.network.path.relative_to(source), max_shard, meter)
        for file in copies:
            target = draft / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            meter(file.stat().st_size)
        if folders:
            notices += _write_index(source, draft, steps, layout)
    return Conversion(
        directory=destination,
        tensors=sum(len(step.tensors) for step in steps),
        size=total,
        notices=tuple(notices),
    )


class _Meter:
    """Adds up what was written."""

    def __init__(self, report: Callable[[int, int], None] | None, total: int) -> None:
        self._report, self._done, self._total = report, 0, total

    def __call__(self, count: int) -> None:
        self._done += count
        if self._report is not None:
            self._report(self._done, self._total)


@contextmanager
def _naming_full_disk(destination: Path) -> Iterator[None]:
    """Names the destination when its disk is full after all."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise ValueError(f"{destination}: no space left on its disk, nothing was kept") from None


def _check_places(source: Path, destination: Path) -> None:
    if not source.is_dir():
        what = "is a file; give the directory that it is in" if source.exists() else "no such directory"
        raise ValueError(f"{source}: {what}")
    if destination.exists() or destination.is_symlink():
        raise ValueError(f"{destination} exists already; name a new directory")
    if source.resolve() in destination.resolve().parents:
        raise ValueError(f"{destination} is inside {source}; name a place outside")


def _check_space(destination: Path, needed: int) -> None:
    parent = next(folder for folder in destination.resolve().parents if folder.exists())
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise ValueError(f"{destination} needs {needed / 1e9:.2f} GB, its disk has {free / 1e9:.2f} GB left")


def _plan(network: Network, layout: Layout, dtype: torch.dtype | None) -> Step:
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


def _notices(network: Network, layout: Layout) -> Iterator[str]:
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
        if _is_weights(file) and file not in read and not file.name.endswith(_INDEX_SUFFIX):
            yield f"{file} was not taken along: other weights of the same network"


def _is_weights(file: Path) -> bool:
    return file.name.endswith(_WEIGHT_SUFFIXES) or is_pickle(file)


def _other_files(source: Path, networks: set[Path]) -> Iterator[Path]:
    """Files that are copied; hidden ones are the business of the tools that made them."""
    for file in sorted(source.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(source).parts)
        if hidden or not file.is_file() or file == source / PIPELINE_INDEX:
            continue
        if file.parent not in networks or not (file.name == CONFIG_NAME or _is_weights(file)):
            yield file


def _write(step: Step, folder: Path, max_shard: int, meter: Callable[[int], None]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    first = step.network.tensors[0].file
    write_rewritten(folder, step.tensors, max_shard=max_shard, metadata=read_header(first)[1], on_bytes=meter)
    write_json(folder / CONFIG_NAME, step.config)


def _write_index(source: Path, draft: Path, steps: Sequence[Step], layout: Layout) -> list[str]:
    """Writes `model_index.json`, from which diffusers starts; EasyAnimate and this project need none.

    Returns:
        What the user should know.
    """
    existing = read_json(source / PIPELINE_INDEX) if (source / PIPELINE_INDEX).is_file() else None
    if layout == "easyanimate":
        if existing is not None and existing.get("_class_name") not in _CLASSES.values():
            write_json(draft / PIPELINE_INDEX, existing)
        return []
    transformer = next((step.network for step in steps if step.network.kind == TRANSFORMER), None)
    index = None if transformer is None else _index(source, traits_of(transformer.config).variant)
    if index is None:
        return [f"no {PIPELINE_INDEX}: diffusers' pipelines do not read these text encoders; load the parts"]
    write_json(draft / PIPELINE_INDEX, index)
    return []


def _index(source: Path, variant: Variant) -> dict[str, Any] | None:
    """What diffusers starts from, None if its pipelines have no place for a part."""
    places = [source / name / CONFIG_NAME for name in (TEXT_ENCODER, VAE)]
    tokenizer = source / TOKENIZER / "tokenizer_config.json"
    wanted = (*places, tokenizer, source / SCHEDULER)
    if (source / SECOND_TEXT_ENCODER).exists() or not all(file.is_file() for file in wanted):
        return None
    encoder = read_json(places[0]).get("architectures") or []
    reader, scheduler = read_json(tokenizer).get("tokenizer_class"), read_json(source / SCHEDULER)
    if not encoder or reader is None or variant not in _CLASSES:
        return None
    return {
        "_class_name": _CLASSES[variant],
        "scheduler": ["diffusers", scheduler.get("_class_name")],
        TEXT_ENCODER: ["transformers", encoder[0]],
        TOKENIZER: ["transformers", reader],
        TRANSFORMER: ["diffusers", "EasyAnimateTransformer3DModel"],
        VAE: ["diffusers", "AutoencoderKLMagvit"],
    }
