"""How long does it take to convert a model directory to diffusers' layout and back, and in how much memory?

The directory has the parts of a released one, tiny but for the transformer: random bfloat16 numbers under
the released names and shapes of a preset, of all its blocks or of the first few. Every step is a process of
its own, so that its memory can be read. Gate: there and back every tensor has the same bits.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors.torch import save_file

from ea_app.api.conversion import convert
from ea_dit import load_transformer
from ea_dit.families.mmdit.config import MMDiTConfig
from ea_dit.families.mmdit.keymap import key_map
from ea_dit.families.mmdit.model import MMDiT
from ea_dit.families.mmdit.presets import PRESETS
from ea_dit.pipelines.layout import TRANSFORMER
from ea_dit.pipelines.tiny import make_tiny
from ea_kernels.runtime.files import CONFIG_NAME, weight_files, write_json
from ea_kernels.runtime.stored import stored_tensors
from ea_kernels.runtime.stream import STEM, read_pieces
from ea_kernels.runtime.weights import build_on_meta, state_shapes
from memory import peak_gigabytes
from report import GateError, Report

FINITE = 0x7F00  # the first bits that are no number have more


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="v5.1-7b-inp", help="[default: v5.1-7b-inp]"
    )
    parser.add_argument("--blocks", type=int, default=2, help="of the transformer, 0 for all [default: 2]")
    parser.add_argument("--shard-gb", type=float, default=0.5, help="most of a weight file [default: 0.5]")
    parser.add_argument("--folder", type=Path, help="where to put the directories [default: the system's]")


def run(arguments: argparse.Namespace) -> Report:
    """Measure."""
    config = PRESETS[arguments.preset]
    if arguments.blocks:
        both = None if config.mmdit_layers is None else -(-arguments.blocks // 2)
        config = replace(config, num_layers=arguments.blocks, mmdit_layers=both)
    shard = round(arguments.shard_gb * 1e9)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        source = make_tiny(arguments.preset, folder / "released")
        _replace_transformer(source / TRANSFORMER, config, shard)
        before = _hashes(source)
        stored, files = stored_tensors(source / TRANSFORMER), len(weight_files(source / TRANSFORMER))
        there = _alone(_convert, source, folder / "diffusers", "diffusers", shard)
        shutil.rmtree(source)  # a large model is on the disk twice, not three times
        back = _alone(_convert, folder / "diffusers", folder / "again", "easyanimate", shard)
        after = _hashes(folder / "again")
        if before != after:
            raise GateError("a tensor has changed on the way there and back")
        loaded = _alone(_load, folder / "again" / TRANSFORMER)
    figures = {
        "to_diffusers_seconds": there["seconds"],
        "to_easyanimate_seconds": back["seconds"],
        "peak_gigabytes": max(there["gigabytes"], back["gigabytes"]),
        "load_seconds": loaded["seconds"],
        "transformer_gigabytes": sum(tensor.size for tensor in stored) / 1e9,
    }
    settings = {
        "preset": arguments.preset,
        "blocks": config.num_layers,
        "tensors": len(stored),
        "files": files,
        "number_type": "bfloat16",
        "peak_gigabytes": "resident, of the whole process; gigabytes_before is what Python with torch takes",
        "load_seconds": "ea_dit.load_transformer, which maps the file",
    }
    details = {"to_diffusers": there, "to_easyanimate": back, "load": loaded}
    return Report(figures=figures, gate={"same_bits": 1.0}, settings=settings, details=details)


def _replace_transformer(folder: Path, config: MMDiTConfig, most: int) -> None:
    """Random numbers under the released names, in as many files as a release would have."""
    for file in weight_files(folder):
        file.unlink()
    write_json(folder / CONFIG_NAME, config.to_dict())
    names = key_map(config)
    shapes = {
        names.to_released(ours): shape
        for ours, shape in state_shapes(build_on_meta(lambda: MMDiT(config))).items()
    }
    shards = list(_shards(shapes, most))
    generator = torch.Generator().manual_seed(0)
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        ending = f"-{number:05d}-of-{len(shards):05d}" if len(shards) > 1 else ""
        file = f"{STEM}{ending}.safetensors"
        state = {
            name: torch.randint(0, FINITE, shapes[name], dtype=torch.int16, generator=generator).view(
                torch.bfloat16
            )
            for name in shard
        }
        save_file(state, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(shard, file)
    if len(shards) > 1:
        write_json(folder / f"{STEM}.safetensors.index.json", {"metadata": {}, "weight_map": places})


def _shards(shapes: dict[str, tuple[int, ...]], most: int) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name, shape in shapes.items():
        bytes_ = 2 * torch.Size(shape).numel()
        if names and size + bytes_ > most:
            yield names
            names, size = [], 0
        names.append(name)
        size += bytes_
    yield names


def _hashes(model: Path) -> dict[str, str]:
    """Of every tensor of the transformer and the autoencoder, read in pieces."""
    found: dict[str, str] = {}
    for part in (TRANSFORMER, "vae"):
        for tensor in stored_tensors(model / part):
            digest = xxhash.xxh3_128()
            for piece in read_pieces(tensor):
                digest.update(piece)
            found[f"{part} {tensor.name} {tensor.dtype} {tensor.shape}"] = digest.hexdigest()
    return found


def _convert(source: Path, destination: Path, layout: Any, shard: int) -> None:
    convert(source, destination, layout=layout, max_shard=shard)


def _load(folder: Path) -> None:
    load_transformer(folder)


def _alone(work: Callable[..., None], *given: Any) -> dict[str, float]:
    """Seconds and peak memory of work in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, work, given).result()


def _measured(work: Callable[..., None], given: tuple[Any, ...]) -> dict[str, float]:
    before = peak_gigabytes()
    start = time.perf_counter()
    work(*given)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "gigabytes": peak_gigabytes(), "gigabytes_before": before}
