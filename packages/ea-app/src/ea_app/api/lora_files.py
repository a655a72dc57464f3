"""LoRA files looked into, written in another format, and merged into models from disk to disk."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from ea_app.api.disk import Meter, check_places, check_space, naming_place
from ea_app.api.job import find_model
from ea_app.api.loras import LoraSource, uses_of
from ea_app.api.networks import Network, read_network
from ea_app.options import InputError, concerning
from ea_dit.lora import (
    Format,
    LoraInspection,
    Targets,
    check_loras,
    inspect_lora,
    known_targets,
    read_lora,
    save_lora,
    targets_of,
)
from ea_dit.lora.merging import Change, changes_of, merged
from ea_dit.lora.writing import NameLayout
from ea_dit.pipelines.outline import read_outline
from ea_dit.registry import read_transformer_config
from ea_kernels.runtime.files import CONFIG_NAME, new_directory
from ea_kernels.runtime.stored import StoredTensor, stored_metadata
from ea_kernels.runtime.stream import Rewritten, write_file
from ea_kernels.runtime.weights import KeyMap

MERGED_KEY = "ea_merged_loras"
"""Of the header of merged weights: names, hashes and weights of what is in them."""
_FLOATS = ("F64", "F32", "BF16", "F16")


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What was done.

    Attributes:
        directory: The new model.
        tensors: How many tensors changed.
        size: Bytes of all files.
        notes: A line for every LoRA.
    """

    directory: Path
    tensors: int
    size: int
    notes: tuple[str, ...]


def inspect_file(path: Path, model: str | None = None, *, allow_pickle: bool = False) -> LoraInspection:
    """Tells what a LoRA file is, and how it fits a model.

    Args:
        path: The file, or PEFT's folder.
        model: A name as for `--model`, or the folder of a transformer; None leaves that out.
        allow_pickle: Accept pickles, read without running code.

    Raises:
        InputError: It is none, or there is no such model.
    """
    targets = None if model is None else model_targets(model, allow_pickle=allow_pickle)
    with concerning("file"):
        return inspect_lora(read_lora(path, allow_pickle=allow_pickle), targets)


def convert_file(
    path: Path,
    output: Path,
    format: Format,  # noqa: A002
    *,
    model: str | None = None,
    layout: NameLayout = "keep",
    allow_pickle: bool = False,
) -> tuple[Path, int]:
    """Writes a LoRA in another format; see `ea_dit.lora.save_lora`.

    Args:
        path: The file, or PEFT's folder.
        output: A new file, or for "peft" a new folder.
        format: Of the new one.
        model: What it is for, as for `inspect_file`; None looks for a release that has all its layers.
        layout: Whose names layers get.
        allow_pickle: Accept pickles, read without running code.

    Returns:
        What was written, and the number of layers.

    Raises:
        InputError: Naming what is wrong.
    """
    if output.exists():
        raise InputError("output", f"{output} exists already; name a new file")
    _check_folder(output)
    given = None if model is None else model_targets(model, allow_pickle=allow_pickle)
    with concerning("file"):
        file = read_lora(path, allow_pickle=allow_pickle)
        targets = given or (
            known_targets(file.header) if _needs_names(file.header.format, format, layout) else None
        )
    try:
        return save_lora(file, output, format, targets=targets, layout=layout), len(file.header.layers)
    except ValueError as error:
        field = "output" if str(error).startswith(f"{output}: ") else "file"
        with concerning(field):
            raise


def _check_folder(output: Path) -> None:
    """Refuses to write where no folder is, as every command does."""
    if not output.absolute().parent.is_dir():
        raise InputError("output", f"the folder {output.parent} does not exist")


def model_targets(model: str, *, allow_pickle: bool = False) -> Targets:
    """The layers of a model that LoRAs can change.

    Raises:
        InputError: There is no such model.
    """
    folder = Path(model).expanduser()
    if (folder / CONFIG_NAME).is_file():
        with concerning("model"):
            return targets_of(read_transformer_config(folder, allow_pickle=allow_pickle))
    entry = find_model(model, allow_pickle=allow_pickle)
    with concerning("model"):
        return targets_of(read_outline(entry.directory, allow_pickle=allow_pickle).config)


def merge_files(
    model: str,
    loras: Sequence[LoraSource],
    destination: Path,
    *,
    on_bytes: Callable[[int, int], None] | None = None,
) -> Merged:
    """Writes a model with LoRAs in its weights: float32 sums, rounded once to the stored number type.

    All other files are copied. Everything that can be checked is, before anything is written, and the
    destination appears when all is done. It takes the memory of the LoRAs and of one tensor.

    Args:
        model: A name as for `--model`.
        loras: What is put in.
        destination: A new directory.
        on_bytes: Called with the bytes written so far and in all.

    Raises:
        InputError: Naming the LoRA, the model or the output that is wrong.
    """
    _check_folder(destination)
    entry = find_model(model)
    with concerning("model"):
        outline = read_outline(entry.directory)
        network = read_network(outline.layout.transformer, motion_module=outline.motion_module)
        network.check()
    with concerning("output"):
        check_places(entry.directory, destination)
    with concerning("lora"):
        targets, uses = targets_of(network.config), uses_of(loras)
        reports = check_loras(uses, targets)
        changes = changes_of([(read_lora(use.path), use) for use in uses], targets)
    files = _rewritten_files(network, changes)
    others = [file for file in _files(entry.directory) if file.resolve() not in files]
    total = sum(t.size for ts in files.values() for t in ts) + sum(file.stat().st_size for file in others)
    with concerning("output"):
        check_space(destination, total)
    meter = Meter(on_bytes, total)
    with (
        concerning("output"),
        naming_place(entry.directory, destination),
        new_directory(destination) as draft,
    ):
        for file in _files(entry.directory):
            target = draft / file.relative_to(entry.directory)
            target.parent.mkdir(parents=True, exist_ok=True)
            if tensors := files.get(file.resolve()):
                write_file(target, tensors, _metadata(file, loras), meter)
            else:
                shutil.copyfile(file, target)
                meter(file.stat().st_size)
    notes = tuple(
        f"{lora.source.path.name} at {lora.weight:g}: {report.summary()}"
        for lora, report in zip(loras, reports, strict=True)
    )
    changed = sum(tensor.change is not None for tensors in files.values() for tensor in tensors)
    return Merged(directory=destination, tensors=changed, size=total, notes=notes)


def _needs_names(old: Format, new: Format, layout: NameLayout) -> bool:
    return layout != "keep" or (new == "peft" and old != "peft")


def _rewritten_files(
    network: Network, changes: Mapping[str, Sequence[Change]]
) -> dict[Path, list[Rewritten]]:
    """Files that have a weight that changes, with all their tensors."""
    key_map = network.key_maps[network.layout]
    files: dict[Path, list[Rewritten]] = {}
    for tensor in network.tensors:
        files.setdefault(tensor.file.resolve(), []).append(_rewritten(tensor, key_map, changes))
    return {file: made for file, made in files.items() if any(tensor.change for tensor in made)}


def _rewritten(tensor: StoredTensor, key_map: KeyMap, changes: Mapping[str, Sequence[Change]]) -> Rewritten:
    if not any(name in changes for name in key_map.to_ours(tensor.name)):
        return Rewritten(source=tensor, name=tensor.name, dtype=tensor.dtype)
    if tensor.dtype not in _FLOATS:
        raise InputError(
            "model", f"{tensor.file}: tensor {tensor.name!r} is {tensor.dtype}, which cannot hold the sum"
        )
    change = partial(_changed, name=tensor.name, key_map=key_map, changes=changes)
    return Rewritten(source=tensor, name=tensor.name, dtype=tensor.dtype, change=change)


def _changed(
    weight: Tensor, *, name: str, key_map: KeyMap, changes: Mapping[str, Sequence[Change]]
) -> Tensor:
    parts = {our: merged(part, changes.get(our, ())) for our, part in key_map.parts(name, weight).items()}
    return key_map.export(parts)[name]


def _files(directory: Path) -> Iterator[Path]:
    """Every file but hidden ones, which are the business of the tools that made them."""
    for file in sorted(directory.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(directory).parts)
        if file.is_file() and not hidden:
            yield file


def _metadata(file: Path, loras: Sequence[LoraSource]) -> dict[str, str]:
    entries = [
        {"name": lora.source.path.name, "xxh3": lora.source.xxh3, "weight": lora.weight} for lora in loras
    ]
    kept = stored_metadata(file)
    before = json.loads(kept.get(MERGED_KEY, "[]"))
    return {**kept, MERGED_KEY: json.dumps([*before, *entries], ensure_ascii=False)}
