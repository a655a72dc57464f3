"""What a LoRA is, by block: ranks, alphas, what is changed and how much."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ea_dit.lora.document import LoraFile, LoraLayer
from ea_dit.lora.factors import Kind
from ea_dit.lora.matching import Report, match
from ea_dit.lora.names import Format
from ea_dit.lora.targets import Targets

_BLOCK = re.compile(r"((?:transformer_)?blocks[._]\d+)[._](.+)")
OUTSIDE = "outside of blocks"


@dataclass(frozen=True, kw_only=True)
class BlockChange:
    """What is changed in one block.

    Attributes:
        name: Of the block, as the file writes it.
        layers: How many layers.
        norm: Frobenius norm of all changes, with alpha / rank, at strength 1.
        largest: The layer with the largest change.
    """

    name: str
    layers: int
    norm: float
    largest: str


@dataclass(frozen=True, kw_only=True)
class LoraInspection:
    """What a file is.

    Attributes:
        format: Whose names it has.
        kinds: What its layers are, with their number.
        ranks: Least and largest.
        alphas: Least and largest; a layer without an alpha has its rank.
        dtypes: Number types, the most frequent first.
        parameters: Numbers in all factors.
        blocks: By block, in order.
        changes: What is changed in blocks, with the number of layers, the most frequent first.
        report: How it fits a model, None where none was given.
    """

    format: Format
    kinds: dict[Kind, int]
    ranks: tuple[int, int] | None
    alphas: tuple[float, float] | None
    dtypes: tuple[str, ...]
    parameters: int
    blocks: tuple[BlockChange, ...]
    changes: dict[str, int]
    report: Report | None

    @property
    def norm(self) -> float:
        """Frobenius norm of all changes."""
        return math.hypot(*(block.norm for block in self.blocks))


def inspect_lora(file: LoraFile, targets: Targets | None = None) -> LoraInspection:
    """Tells what a LoRA is.

    Args:
        file: From `read_lora`.
        targets: Of the model that it shall fit.
    """
    layers = file.header.layers
    ranks = [layer.rank for layer in layers if layer.rank is not None]
    alphas = [alpha for layer in layers if (alpha := _alpha(file, layer)) is not None]
    kinds: dict[Kind, int] = {}
    changes: dict[str, int] = {}
    blocks: dict[str, list[tuple[float, str]]] = {}
    for layer in layers:
        kinds[layer.kind] = kinds.get(layer.kind, 0) + 1
        block, inside = _split(layer)
        changes[inside] = changes.get(inside, 0) + 1
        blocks.setdefault(block, []).append((file.factors(layer).norm(), inside))
    return LoraInspection(
        format=file.header.format,
        kinds=kinds,
        ranks=(min(ranks), max(ranks)) if ranks else None,
        alphas=(min(alphas), max(alphas)) if alphas else None,
        dtypes=file.header.dtypes,
        parameters=sum(math.prod(shape) for layer in layers for shape in _factor_shapes(layer)),
        blocks=tuple(_change(name, blocks[name]) for name in sorted(blocks, key=_order)),
        changes=dict(sorted(changes.items(), key=lambda entry: -entry[1])),
        report=None if targets is None else match(file.header, targets),
    )


def _change(name: str, norms: list[tuple[float, str]]) -> BlockChange:
    return BlockChange(
        name=name,
        layers=len(norms),
        norm=math.hypot(*(norm for norm, _ in norms)),
        largest=max(norms)[1],
    )


def _alpha(file: LoraFile, layer: LoraLayer) -> float | None:
    alpha = file.alpha(layer)
    return layer.rank if alpha is None else alpha


def _factor_shapes(layer: LoraLayer) -> Iterable[tuple[int, ...]]:
    return (shape for name, shape in layer.shapes.items() if name != "alpha")


def _split(layer: LoraLayer) -> tuple[str, str]:
    """Block and the layer's name inside it."""
    found = _BLOCK.fullmatch(layer.name)
    if layer.network == "text_encoder":
        return "text encoder", layer.name
    return (found[1], found[2]) if found else (OUTSIDE, layer.name)


def _order(name: str) -> tuple[bool, list[int]]:
    numbers = [int(digits) for digits in re.findall(r"\d+", name)]
    return not numbers, numbers
