"""What a request will need, from the configs of a model."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ea_app.catalog import Model
from ea_app.limits import limits_of
from ea_app.options import PLANNED, InputError, complete, parse
from ea_app.planning.autoencoder import AutoencoderCosts
from ea_app.planning.machine import Machine
from ea_app.planning.transformer import TransformerCosts

_BYTES = {"float32": 4, "fp32": 4, "bfloat16": 2, "bf16": 2, "float16": 2, "fp16": 2}
_TEXT_TOKENS = 256
"""Tokens of a prompt where a text encoder's config does not say."""
_OPTIONS = (*PLANNED, "loops")
_CLASSES = {"transformer": "EasyAnimateTransformer3DModel", "vae": "AutoencoderKLMagvit"}
_ENOUGH = 0.75
"""Of free memory, the share that weights may take where the memory mode is chosen automatically."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of the work.

    Attributes:
        name: "denoise" or "decode".
        seconds: Estimate.
        teraflops: Its arithmetic, in 1e12 operations.
        gigabytes: Most memory on the device meanwhile.
    """

    name: str
    seconds: float
    teraflops: float
    gigabytes: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a request will need.

    Attributes:
        model: Name of the model.
        machine: What it is computed on.
        settings: Size, frames, steps and what else decides.
        tokens: Video tokens of a pass.
        weights_gigabytes: Of all networks, in the number type of the computation.
        stages: The parts, in order.
        memory: The memory mode that was taken.
    """

    model: str
    machine: Machine
    settings: Mapping[str, Any]
    tokens: int
    weights_gigabytes: float
    stages: tuple[Stage, ...]
    memory: str

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def peak_gigabytes(self) -> float:
        """Most memory on the device."""
        return max(stage.gigabytes for stage in self.stages)

    @property
    def fits(self) -> bool | None:
        """Whether that is free; None if that is not known."""
        return self.peak_gigabytes <= self.machine.gigabytes if self.machine.gigabytes else None

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        sums = {"seconds": self.seconds, "peak_gigabytes": self.peak_gigabytes, "fits": self.fits}
        return {**asdict(self), **sums}


@dataclass(frozen=True)
class _Weights:
    """Bytes of the networks on a device."""

    blocks: float
    rest: float
    vae: float
    text: float

    @property
    def denoiser(self) -> float:
        return self.blocks + self.rest

    @property
    def all(self) -> float:
        return self.denoiser + self.vae + self.text


def plan(model: Model, machine: Machine, **options: Any) -> Plan:
    """Say what a request will need.

    Args:
        model: See `ea_app.catalog.find`; only its configs and the sizes of its files are read.
        machine: See `find_machine`.
        **options: Of `ea_app.options.OPTIONS`, those that decide it: size, frames, window, overlap, steps,
            teacache, guidance, dtype, vae_dtype, memory.

    Raises:
        InputError: For an option that the model does not allow, or a model whose costs are not known.
    """
    if strange := sorted(set(options) - set(_OPTIONS)):
        raise InputError(strange[0], f"decides nothing here; what does: {', '.join(_OPTIONS)}")
    values = complete({**parse({**options, "prompt": "-"})}, limits_of(model.info))
    denoiser = TransformerCosts(_config(model, "transformer"))
    vae = AutoencoderCosts(_config(model, "vae"))
    size = _bytes(values.get("dtype", "auto"), machine)
    vae_size = _vae_bytes(values, denoiser, machine)
    weights = _Weights(
        blocks=denoiser.block_parameters() * size,
        rest=(denoiser.parameters() - denoiser.block_parameters()) * size,
        vae=vae.parameters() * vae_size,
        text=sum(_file_bytes(folder) for folder in model.directory.glob("text_encoder*")),
    )
    (width, height), frames = values["size"], values["frames"]
    at_once, windows = _windows(values)
    latents = (at_once - 1 + 3) // 4 + 1
    tokens = latents * math.prod(-(-side // (8 * denoiser.patch)) for side in (width, height))
    text = _text_tokens(model.directory) * denoiser.text_projections
    samples = 2 if values["guidance"] > 1 else 1
    memory = _memory(values.get("memory", "auto"), weights, machine)
    passes = values["steps"] * samples * windows
    denoising = denoiser.flops(tokens, text) * passes
    decoding = sum(layer.flops for layer in vae.decoder(latents, height, width)) * windows
    live = denoiser.activations(tokens + text, samples)
    if "teacache" in values:  # what it compares, and what blocks added
        live += 2 * samples * tokens * denoiser.width
    work = (
        ("denoise", denoising, live * size, denoiser.blocks * passes),
        ("decode", decoding, vae.decoding_activations(latents, height, width) * vae_size, 0),
    )
    stages = tuple(
        Stage(
            name=name,
            seconds=flops / machine.flops_per_second + calls * machine.block_seconds,
            teraflops=flops / 1e12,
            gigabytes=machine.base_gigabytes
            + (_resident(memory, weights, name, denoiser.blocks, machine) + live) / 1e9,
        )
        for name, flops, live, calls in work
    )
    shown = {key: value for key, value in values.items() if key in _OPTIONS}
    return Plan(
        model=model.name,
        machine=machine,
        settings={**shown, "frames": frames, "windows": windows},
        tokens=tokens,
        weights_gigabytes=weights.all / 1e9,
        stages=stages,
        memory=memory,
    )


def _windows(values: Mapping[str, Any]) -> tuple[int, int]:
    """Frames that are made at once, and how often."""
    frames, window = values["frames"], values.get("window")
    if values.get("loops"):
        return frames, values["loops"]
    if window is None or window >= frames:
        return frames, 1
    overlap = values.get("overlap") or max(1, window // 4)
    return window, 1 + math.ceil((frames - window) / (window - overlap))


def _config(model: Model, part: str) -> Mapping[str, Any]:
    path = model.directory / part / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("model", f"{path} cannot be read: {error}") from None
    found = config.get("_class_name")
    if found != _CLASSES[part] or (part == "transformer" and "num_attention_heads" not in config):
        raise InputError(
            "model", f"{model.name}: only models of V5 and V5.1 can be planned; its {part} is {found!r}"
        )
    return config


def _bytes(dtype: str, machine: Machine) -> int:
    return _BYTES.get(dtype, 4 if machine.is_cpu else 2)


def _vae_bytes(values: Mapping[str, Any], denoiser: TransformerCosts, machine: Machine) -> int:
    """Bytes of a number of the autoencoder; "auto" is float32 where that of V5 would run in float16."""
    asked, others = values.get("vae_dtype", "auto"), values.get("dtype", "auto")
    if asked in _BYTES:
        return _BYTES[asked]
    overflows = denoiser.text_projections > 1 and others in ("float16", "fp16")
    return 4 if asked == "auto" and overflows else _bytes(others, machine)


def _file_bytes(folder: Path) -> int:
    endings = (".safetensors", ".bin", ".pt", ".pth")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in endings)


def _text_tokens(directory: Path) -> int:
    path = directory / "text_encoder" / "config.json"
    if not path.is_file():
        return _TEXT_TOKENS
    return json.loads(path.read_text(encoding="utf-8")).get("num_tokens") or _TEXT_TOKENS


def _memory(asked: str, weights: _Weights, machine: Machine) -> str:
    if asked != "auto":
        return asked
    free = _ENOUGH * machine.gigabytes * 1e9
    if machine.is_cpu or not free or weights.all <= free:
        return "model_full_load"
    largest = max(weights.denoiser, weights.vae, weights.text)
    return "model_cpu_offload" if largest <= free else "sequential_cpu_offload"


def _resident(memory: str, weights: _Weights, stage: str, blocks: int, machine: Machine) -> float:
    """Bytes of weights on the device in a stage."""
    if machine.is_cpu or memory == "model_full_load":
        return weights.all
    if stage == "decode":
        return weights.vae
    if memory == "model_cpu_offload":
        return weights.denoiser
    if memory == "model_cpu_offload_and_qfloat8":
        return weights.blocks / 2 + weights.rest
    return weights.blocks / blocks + weights.rest
