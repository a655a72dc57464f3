"""From EasyAnimate's layout of a model to that of diffusers and back, from disk to disk.

Only names, shards and number types change, and the configs say explicitly what the other library would
assume otherwise; everything else is copied. Diffusers ignores keys that it does not know, so none are lost.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ea_app.api.conversion_pickles import belongs_to_pickles, find_pickled
from ea_app.api.conversion_plan import Layout, Step, is_weights, notices_of, plan
from ea_app.api.disk import Meter, check_places, check_space, naming_place
from ea_app.api.networks import read_network
from ea_app.api.pipeline_index import PIPELINE_INDEX, write_index
from ea_dit.pipelines.layout import TRANSFORMER, VAE
from ea_kernels.runtime.device import resolve_dtype
from ea_kernels.runtime.files import CONFIG_NAME, new_directory, write_json
from ea_kernels.runtime.stored import stored_metadata
from ea_kernels.runtime.stream import MAX_SHARD, write_rewritten


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
    allow_pickle: bool = False,
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
        allow_pickle: Accept weights in pickles, also of encoders, read without running code; what is written
            is safetensors.

    Raises:
        ValueError: If a network is unknown, incomplete or damaged, has no such layout, or there is no space.
    """
    source, destination = Path(source), Path(destination)
    number = None if dtype == "keep" else resolve_dtype(dtype, torch.device("cpu"))
    check_places(source, destination)
    folders = [source / name for name in (TRANSFORMER, VAE) if (source / name / CONFIG_NAME).is_file()]
    if not folders and not (source / CONFIG_NAME).is_file():
        raise ValueError(
            f"{source}: has neither {TRANSFORMER}/{CONFIG_NAME} nor {CONFIG_NAME}; give a model directory or "
            "the folder of one network (Open-Sora's releases have one layout only and load as they are)"
        )
    networks = [read_network(folder, allow_pickle=allow_pickle) for folder in folders or [source]]
    steps = [plan(network, layout, number) for network in networks]
    places = {step.network.path for step in steps}
    pickled, left = find_pickled(source, places, allow_pickle=allow_pickle)
    copies = list(_other_files(source, places))
    total = sum(part.size for part in (*steps, *pickled)) + sum(file.stat().st_size for file in copies)
    check_space(destination, total)
    notices = [notice for step in steps for notice in notices_of(step.network, layout)]
    notices += left
    meter = Meter(on_bytes, total)
    with naming_place(source, destination), new_directory(destination) as draft:
        for step in steps:
            _write(step, draft / step.network.path.relative_to(source), max_shard, meter)
        for part in pickled:
            folder = draft / part.folder.relative_to(source)
            folder.mkdir(parents=True, exist_ok=True)
            write_rewritten(folder, part.tensors, max_shard=max_shard, on_bytes=meter, stem=part.stem)
        for file in copies:
            target = draft / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            meter(file.stat().st_size)
        if folders:
            transformer = next((step.network for step in steps if step.network.kind == TRANSFORMER), None)
            notices += write_index(source, draft, transformer, layout)
    return Conversion(
        directory=destination,
        tensors=sum(len(part.tensors) for part in (*steps, *pickled)),
        size=total,
        notices=tuple(notices),
    )


def _other_files(source: Path, networks: set[Path]) -> Iterator[Path]:
    """Files that are copied; hidden ones are the business of the tools that made them."""
    for file in sorted(source.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(source).parts)
        if hidden or not file.is_file() or file == source / PIPELINE_INDEX or belongs_to_pickles(file):
            continue
        if file.parent not in networks or not (file.name == CONFIG_NAME or is_weights(file)):
            yield file


def _write(step: Step, folder: Path, max_shard: int, meter: Callable[[int], None]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    metadata = stored_metadata(step.network.tensors[0].file)
    write_rewritten(folder, step.tensors, max_shard=max_shard, metadata=metadata, on_bytes=meter)
    write_json(folder / CONFIG_NAME, step.config)
