"""Adapters over a network: put on, weighted, taken off, merged into the weights and out again."""

import math
from dataclasses import replace

import torch
from torch import nn

from ea_dit.lora.document import LoraFile
from ea_dit.lora.factors import Factors
from ea_dit.lora.layers import AdaptedLayer, Adapter, LowRank, Product
from ea_dit.lora.matching import Report, match
from ea_dit.lora.targets import Part, Targets, targets_of
from ea_dit.registry import Transformer

STRONGEST = 100.0
"""Largest magnitude of a strength, that of released programs."""


class Overlay:
    """One LoRA over a network. Make it with `attach`.

    The network's own weights are not touched: with strength 0, or after `remove`, its results are what they
    were, to the bit.

    Attributes:
        network: What it is over.
        report: What matched.

    Args:
        network: What it is over.
        adapters: By path of the layer.
        report: What matched.
    """

    def __init__(
        self, network: nn.Module, adapters: dict[str, Adapter], report: Report | None = None
    ) -> None:
        self.network = network
        self.report = report
        self._adapters = adapters
        self._strength = next(iter(adapters.values())).strength

    @property
    def adapters(self) -> dict[str, Adapter]:
        """By path of the layer."""
        return dict(self._adapters)

    @property
    def removed(self) -> bool:
        """Whether it was taken off."""
        return not self._adapters

    @property
    def strength(self) -> float:
        """What its change is multiplied with; 0 is off, negative ones take away."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        strength = check_strength(value)
        for path in self._adapters:
            _refuse_merged(self.network, path)
        self._strength = strength
        for adapter in self._adapters.values():
            adapter.strength = self._strength

    def remove(self) -> None:
        """Takes it off; layers without another one are the network's own again."""
        for path in self._adapters:
            _refuse_merged(self.network, path)
        for path, adapter in self._adapters.items():
            layer = self.network.get_submodule(path)
            assert isinstance(layer, AdaptedLayer)
            if layer.drop(adapter):
                put(self.network, path, layer.base)
        self._adapters = {}


def check_strength(value: float) -> float:
    """Returns a strength as a float.

    Raises:
        ValueError: If it is not a finite number from -100 to 100.
    """
    if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > STRONGEST:
        raise ValueError(f"strength must be a number from -{STRONGEST:g} to {STRONGEST:g}, got {value!r}")
    return float(value)


def attach(
    network: Transformer,
    file: LoraFile,
    *,
    strength: float = 1.0,
    strict: bool = True,
    targets: Targets | None = None,
    dtype: torch.dtype | None = None,
) -> Overlay:
    """Puts a LoRA over a transformer.

    Args:
        network: A transformer of any family, on any device; also one whose layers are stored in eight bits,
            or that has others over it already. Not while a placement has it elsewhere.
        file: From `read_lora`.
        strength: What its change is multiplied with.
        strict: Refuse a file of which anything is left over; otherwise only one of which nothing fits.
        targets: Of the network; None finds them.
        dtype: Of the factors; None for that of the network's tokens.

    Returns:
        The handle to weigh it and take it off.

    Raises:
        ValueError: If it does not fit, or what is over the network is merged.
    """
    check_strength(strength)
    report = match(file.header, targets_of(network.config) if targets is None else targets)
    report.check(strict=strict)
    number = network.dtype if dtype is None else dtype
    adapters: dict[str, Adapter] = {}
    for entry in report.matched:
        factors = file.factors(entry.layer)
        for part in entry.target.parts:
            _refuse_merged(network, part.layer)
            adapters[part.layer] = _adapter(factors, part, number)
    return cover(network, adapters, strength=strength, report=report)


def cover(
    network: nn.Module, adapters: dict[str, Adapter], *, strength: float = 1.0, report: Report | None = None
) -> Overlay:
    """Puts adapters over layers, by path."""
    for path, adapter in adapters.items():
        layer = network.get_submodule(path)
        if not isinstance(layer, AdaptedLayer):
            training = layer.training
            layer = AdaptedLayer(layer).train(training)
            put(network, path, layer)
        adapter.strength = float(strength)
        layer.add(adapter)
    return Overlay(network, adapters, report)


def merge(network: nn.Module) -> int:
    """Puts all that is over a network into its weights, so that it costs no time.

    Every weight is the float32 sum, rounded once. The weights before are kept, on their device, and `unmerge`
    puts them back, the same tensors.

    Returns:
        How many layers changed.

    Raises:
        ValueError: If a layer is stored in eight bits, which cannot hold the sum, or it is merged already.
    """
    layers = adapted_layers(network)
    for path, layer in layers:
        if layer.merged:
            raise ValueError("the network is merged already")
        if not isinstance(layer.base.weight, nn.Parameter) or layer.base.weight.dtype not in _FLOATS:
            raise ValueError(
                f"{path}: stored in eight bits, which cannot hold the sum; leave it as an overlay"
            )
    for _, layer in layers:
        layer.merge()
    return sum(layer.merged for _, layer in layers)


def unmerge(network: nn.Module) -> None:
    """Takes out what `merge` put in: the weights are the same tensors as before, so nothing drifts."""
    for _, layer in adapted_layers(network):
        layer.unmerge()


def adapted_layers(network: nn.Module) -> list[tuple[str, AdaptedLayer]]:
    """Layers with adapters over them, by path."""
    return [(path, layer) for path, layer in network.named_modules() if isinstance(layer, AdaptedLayer)]


def put(network: nn.Module, path: str, module: nn.Module) -> None:
    """Puts a module at a path of a network."""
    owner, _, name = path.rpartition(".")
    setattr(network.get_submodule(owner), name, module)


_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def _adapter(factors: Factors, part: Part, dtype: torch.dtype) -> Adapter:
    rows = slice(part.start, part.stop)
    pair = factors.low_rank()
    if pair is None:
        # Products of small numbers: float16 would lose them.
        wide = {name: tensor.float() for name, tensor in factors.tensors.items()}
        return Product(replace(factors, tensors=wide), rows)
    up, down = pair
    return LowRank(up[rows].to(dtype, copy=True), down.to(dtype, copy=True), factors.scale)


def _refuse_merged(network: nn.Module, path: str) -> None:
    layer = network.get_submodule(path)
    if isinstance(layer, AdaptedLayer) and layer.merged:
        raise ValueError("what is over this network is merged; unmerge it first")
