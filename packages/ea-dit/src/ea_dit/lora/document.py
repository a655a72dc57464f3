"""A LoRA file in memory: what its header says, and its tensors."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from ea_dit.lora.factors import Factors, Kind, Shape, kind_of, product_size, rank_of
from ea_dit.lora.names import Format, Network, Spelling, TensorName, parse_name
from ea_dit.lora.peft_config import alpha_of, read_peft_config, whole_scale
from ea_kernels.runtime.stored import stored_metadata, stored_tensors
from ea_kernels.runtime.weights import load_weights, weight_files

_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_NOT_SUPPORTED = {
    "dora_scale": "DoRA",
    "lora_magnitude_vector": "DoRA",
    "lora_embedding_A": "LoRA of embeddings",
    "lora_bottleneck": "GLoRA",
    "oft_blocks": "OFT",
}


@dataclass(frozen=True, kw_only=True)
class LoraLayer:
    """What a file has for one layer.

    Attributes:
        name: As written, without the prefix.
        network: Which network is meant.
        kind: What the factors are.
        shapes: Of the factors, alpha among them where it is a tensor.
        stored: Names of their tensors in the file.
        spelling: How they are written.
    """

    name: str
    network: Network
    kind: Kind
    shapes: Mapping[str, Shape]
    stored: Mapping[str, str]
    spelling: Spelling

    @property
    def size(self) -> tuple[int, int]:
        """Outputs, and inputs times kernel numbers, of what it changes."""
        return product_size(self.kind, self.shapes)

    @property
    def rank(self) -> int | None:
        """Its rank, None for a LoKr of two whole matrices."""
        return rank_of(self.kind, self.shapes)


@dataclass(frozen=True, kw_only=True)
class LoraHeader:
    """What a file says before its tensors are read.

    Attributes:
        path: The file.
        layers: What it has.
        foreign: Names of tensors that are no factors.
        metadata: Text of its header.
        peft: Settings that PEFT or diffusers wrote, empty without.
        dtypes: Number types of its tensors, the most frequent first, such as ("BF16",).
    """

    path: Path
    layers: tuple[LoraLayer, ...]
    foreign: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    peft: Mapping[str, object] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ()

    @property
    def spelling(self) -> Spelling:
        """How most names of layers of the transformer are written, of others where there are none."""
        own = [layer for layer in self.layers if layer.network == "transformer"]
        return Counter(layer.spelling for layer in own or self.layers).most_common(1)[0][0]

    @property
    def format(self) -> Format:
        """Whose names it has."""
        return self.spelling.format


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """A file with its tensors.

    Attributes:
        header: What it says.
        tensors: By name, as stored.
    """

    header: LoraHeader
    tensors: Mapping[str, Tensor]

    def alpha(self, layer: LoraLayer) -> float | None:
        """Alpha of a layer; None stands for its rank."""
        if "alpha" in layer.stored:
            return float(self.tensors[layer.stored["alpha"]].double().item())
        return alpha_of(self.header.peft, layer.name, layer.rank)

    def factors(self, layer: LoraLayer) -> Factors:
        """The factors of a layer as stored."""
        tensors = {name: self.tensors[key] for name, key in layer.stored.items() if name != "alpha"}
        scale = 1.0 if layer.rank is not None else whole_scale(self.header.peft, layer.name)
        return Factors(kind=layer.kind, tensors=tensors, alpha=self.alpha(layer), whole_scale=scale)


def read_lora_header(path: str | Path, *, allow_pickle: bool = False) -> LoraHeader:
    """Reads what a LoRA file has; no tensor is read.

    Args:
        path: A safetensors file, or a folder with one, as PEFT writes it with `adapter_config.json`.
        allow_pickle: Accept `.pt`, `.bin`, `.ckpt` and `.pth` files, read without running code.

    Raises:
        ValueError: If it is missing, damaged, a pickle that is not allowed, or no LoRA; if a layer lacks a
            factor or its factors do not go together; or if it is of a kind that is not known here.
    """
    (file, *others) = weight_files(path, allow_pickle=allow_pickle)
    if others:
        raise ValueError(f"{path}: a LoRA is one file, got shards")
    stored = stored_tensors(file, allow_pickle=allow_pickle)
    metadata = stored_metadata(file)
    groups: dict[tuple[str, str], dict[str, tuple[str, TensorName, Shape]]] = {}
    foreign: list[str] = []
    for tensor in stored:
        parsed = parse_name(tensor.name)
        if parsed is None:
            _refuse_other_kinds(file, tensor.name)
            foreign.append(tensor.name)
            continue
        if parsed.factor != "alpha" and tensor.dtype not in _FLOATS:
            raise ValueError(f"{file}: tensor {tensor.name!r} is {tensor.dtype}, must be floating-point")
        group = groups.setdefault((parsed.spelling.prefix, parsed.layer), {})
        if parsed.factor in group:
            twice = group[parsed.factor][0]
            raise ValueError(f"{file}: tensors {twice!r} and {tensor.name!r} are the same factor")
        group[parsed.factor] = (tensor.name, parsed, tensor.shape)
    if not groups:
        raise ValueError(
            f"{file}: is no LoRA: none of its {len(stored)} tensors is a factor such as "
            "NAME.lora_down.weight; a whole denoiser goes with transformer_weights (--transformer-weights)"
        )
    counts = Counter(tensor.dtype for tensor in stored)
    return LoraHeader(
        path=file,
        layers=tuple(_layer(file, group) for group in groups.values()),
        foreign=tuple(foreign),
        metadata=metadata,
        peft=read_peft_config(file, metadata),
        dtypes=tuple(dtype for dtype, _ in counts.most_common()),
    )


def read_lora(path: str | Path, *, allow_pickle: bool = False) -> LoraFile:
    """Reads a LoRA file; arguments as for `read_lora_header`.

    Raises:
        ValueError: As `read_lora_header`, or if a number is not finite.
    """
    header = read_lora_header(path, allow_pickle=allow_pickle)
    tensors = load_weights(header.path, allow_pickle=allow_pickle)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
            raise ValueError(f"{header.path}: tensor {name!r} has numbers that are not finite")
    return LoraFile(header=header, tensors=MappingProxyType(tensors))


def _layer(file: Path, group: Mapping[str, tuple[str, TensorName, Shape]]) -> LoraLayer:
    parsed = next((entry[1] for name, entry in group.items() if name != "alpha"), None)
    first_name, first, _ = next(iter(group.values()))
    shapes = {name: shape for name, (_, _, shape) in group.items()}
    try:
        kind = kind_of(shapes)
        product_size(kind, shapes)
    except ValueError as error:
        raise ValueError(f"{file}: layer {first.layer!r}: {error}") from None
    assert parsed is not None, first_name
    return LoraLayer(
        name=parsed.layer,
        network=parsed.network,
        kind=kind,
        shapes=shapes,
        stored={name: key for name, (key, _, _) in group.items()},
        spelling=parsed.spelling,
    )


def _refuse_other_kinds(file: Path, name: str) -> None:
    for sign, what in _NOT_SUPPORTED.items():
        if sign in name:
            raise ValueError(f"{file}: tensor {name!r} belongs to {what}, which is not supported")
