"""The layers of a transformer that a LoRA can change, under the names that files have for them.

A released layer may be several of ours (Open-Sora stores query, key and value as one): a change of it then
reaches each of them with its rows.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from torch import nn

from ea_dit.families.stdit.patches import VideoPatchEmbed
from ea_dit.layers.patchify import PatchEmbed
from ea_dit.registry import family_of
from ea_kernels.runtime.weights import KeyMap, build_on_meta, state_shapes

Shape = tuple[int, ...]

ADAPTABLE = (nn.Linear, PatchEmbed, VideoPatchEmbed)
"""Layers that are a product with a weight."""
OWN, DIFFUSERS, OURS = "easyanimate", "diffusers", "ours"
_WEIGHT = ".weight"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of our layers, or rows of a released one.

    Attributes:
        layer: Its path in our network.
        start: Its first row in the released weight.
        stop: The row after its last.
        width: Its inputs, times kernel numbers.
    """

    layer: str
    start: int
    stop: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Target:
    """A layer as files know it.

    Attributes:
        names: Its name by layout, released ones first, and "ours" unless it is joined of several.
        shape: Of its weight.
        parts: Our layers that it is made of.
    """

    names: Mapping[str, str]
    shape: Shape
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """Its name in messages and in files of ours: EasyAnimate's or Open-Sora's."""
        return next(iter(self.names.values()))


class Targets:
    """All targets of a network.

    Args:
        targets: Them; of two with the same name the first counts.
    """

    def __init__(self, targets: tuple[Target, ...]) -> None:
        self.targets = targets

    @cached_property
    def _dotted(self) -> Mapping[str, Target]:
        found: dict[str, Target] = {}
        # Released names win over ours where they are the same.
        for target in self.targets:
            for layout, name in target.names.items():
                if layout != OURS:
                    found.setdefault(name, target)
        for target in self.targets:
            for own in (target,) if len(target.parts) == 1 else map(_alone, target.parts):
                found.setdefault(own.names[OURS], own)
        return found

    @cached_property
    def _flat(self) -> Mapping[str, Target]:
        found: dict[str, Target] = {}
        for name, target in self._dotted.items():
            other = found.setdefault(name.replace(".", "_"), target)
            assert other is target, f"{name} and {other.name} are the same without dots"
        return found

    def find(self, layer: str, *, flat: bool) -> Target | None:
        """The target that a file means.

        Args:
            layer: As the file has it, without a prefix.
            flat: Whether it is written with underscores for dots.
        """
        return (self._flat if flat else self._dotted).get(layer)

    def __iter__(self) -> Iterator[Target]:
        return iter(self.targets)

    def __len__(self) -> int:
        return len(self.targets)


def _alone(part: Part) -> Target:
    """A part of a joined layer under its own name."""
    rows = part.stop - part.start
    whole = Part(layer=part.layer, start=0, stop=rows, width=part.width)
    return Target(names={OURS: part.layer}, shape=(rows, part.width), parts=(whole,))


@cache
def targets_of(config: Any) -> Targets:
    """The targets of a transformer, which is built on meta for it, once: a second or two.

    Args:
        config: Of any family.
    """
    family = family_of(config.to_dict())
    network = build_on_meta(lambda: family.build(config))
    layouts: dict[str, KeyMap] = {OWN: family.released_names(config)}
    if family.is_diffusers_layout is not None:
        layouts[DIFFUSERS] = family.released_names(config, diffusers=True)
    adaptable = [path for path, module in network.named_modules() if isinstance(module, ADAPTABLE)]
    return Targets(tuple(_targets(adaptable, state_shapes(network), layouts)))


def _targets(
    adaptable: list[str], shapes: Mapping[str, Shape], layouts: Mapping[str, KeyMap]
) -> Iterator[Target]:
    seen: set[str] = set()
    for path in adaptable:
        weight = path + _WEIGHT
        if weight in seen:
            continue
        released = layouts[OWN].to_released(weight)
        # A joined projection without a layer of its own (in_proj_weight) has no name that files could use.
        weights = layouts[OWN].to_ours(released) if released.endswith(_WEIGHT) else (weight,)
        seen.update(weights)
        yield Target(
            names=_names(weights, layouts),
            shape=(sum(shapes[weight][0] for weight in weights), *shapes[weight][1:]),
            parts=tuple(_parts(weights, shapes)),
        )


def _names(weights: tuple[str, ...], layouts: Mapping[str, KeyMap]) -> dict[str, str]:
    names: dict[str, str] = {}
    for layout, key_map in layouts.items():
        released = key_map.to_released(weights[0])
        if released.endswith(_WEIGHT) and key_map.to_ours(released) == weights:
            names[layout] = released.removesuffix(_WEIGHT)
    if len(weights) == 1:
        names[OURS] = weights[0].removesuffix(_WEIGHT)
    return names


def _parts(weights: tuple[str, ...], shapes: Mapping[str, Shape]) -> Iterator[Part]:
    start = 0
    for weight in weights:
        rows, *rest = shapes[weight]
        layer = weight.removesuffix(_WEIGHT)
        yield Part(layer=layer, start=start, stop=start + rows, width=math.prod(rest))
        start += rows
