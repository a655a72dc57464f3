"""Translation of tensor names between released checkpoints and our modules.

A table of rules stands beside each model family; this engine applies it. Names are compared whole, never in
part, and the first rule that matches wins, so a table can be read from top to bottom. A name that no rule
matches keeps its name (and is refused later if the model has no such tensor).
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

Shape = tuple[int, ...]
_PLACEHOLDER = re.compile(r"\{(\w+)(\*?)\}")


@dataclass(frozen=True)
class Template:
    """A dotted name with placeholders: `{i}` stands for one segment, `{rest*}` for one or more.

    Example:
        `Template("blocks.{i}.attn.{rest*}").match("blocks.3.attn.q.weight")` is
        `{"i": "3", "rest": "q.weight"}`.
    """

    text: str

    @cached_property
    def placeholders(self) -> frozenset[str]:
        """Names of the placeholders."""
        return frozenset(name for name, _ in _PLACEHOLDER.findall(self.text))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        pattern, end = "", 0
        for hit in _PLACEHOLDER.finditer(self.text):
            wildcard = ".+" if hit[2] else r"[^.]+"
            pattern += re.escape(self.text[end : hit.start()]) + f"(?P<{hit[1]}>{wildcard})"
            end = hit.end()
        return re.compile(pattern + re.escape(self.text[end:]))

    def match(self, name: str) -> dict[str, str] | None:
        """Values of the placeholders, or None if the name does not fit."""
        hit = self._pattern.fullmatch(name)
        return None if hit is None else hit.groupdict()

    def fill(self, values: Mapping[str, str]) -> str:
        """The name with every placeholder replaced."""
        return _PLACEHOLDER.sub(lambda hit: values[hit[1]], self.text)


@dataclass(frozen=True)
class Rename:
    """One released tensor is one of ours under another name.

    Attributes:
        released: Template of the released name.
        ours: Template of our name with the same placeholders.
    """

    released: str
    ours: str

    def __post_init__(self) -> None:
        _check_placeholders(self.released, self.ours)


@dataclass(frozen=True)
class Drop:
    """A released tensor that we do not need.

    Attributes:
        released: Template of its name.
    """

    released: str


@dataclass(frozen=True)
class Split:
    """One released tensor is several of ours, joined along a dimension (fused query, key, value).

    Attributes:
        released: Template of the released name.
        ours: Templates of our names, in the order in which they are joined.
        dim: The dimension.
        sizes: Length of each part along it; None for equal parts.
    """

    released: str
    ours: tuple[str, ...]
    dim: int = 0
    sizes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for template in self.ours:
            _check_placeholders(self.released, template)

    def part_sizes(self, length: int) -> tuple[int, ...]:
        """Length of each part of a dimension of the given length.

        Raises:
            ValueError: If the length cannot be divided this way.
        """
        count = len(self.ours)
        sizes = self.sizes if self.sizes is not None else (length // count,) * count
        if sum(sizes) != length:
            raise ValueError(f"a dimension of {length} cannot be split into {count} parts {sizes}")
        return sizes


Rule = Rename | Drop | Split


@dataclass(frozen=True)
class KeyMap:
    """A table of rules from released names to ours.

    Attributes:
        rules: Tried in order; the first that matches the whole name wins.

    Example:
        `KeyMap((Rename("mid.attn.{p}", "mid.attention.{p}"),)).to_ours("mid.attn.bias")` is
        `("mid.attention.bias",)`.
    """

    rules: Sequence[Rule] = ()
    # Compiled once per table: released templates, and ours (none for a dropped tensor).
    _released: tuple[Template, ...] = field(init=False, repr=False, compare=False)
    _ours: tuple[tuple[Template, ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_released", tuple(Template(rule.released) for rule in self.rules))
        object.__setattr__(self, "_ours", tuple(map(_our_templates, self.rules)))

    def _find(self, released_name: str) -> tuple[Rule | None, tuple[str, ...]]:
        for rule, template, ours in zip(self.rules, self._released, self._ours, strict=True):
            if (values := template.match(released_name)) is not None:
                return rule, tuple(our.fill(values) for our in ours)
        return None, (released_name,)

    def to_ours(self, released_name: str) -> tuple[str, ...]:
        """Our names of a released tensor: none if dropped, several if split."""
        return self._find(released_name)[1]

    def shapes(self, released_name: str, shape: Shape) -> dict[str, Shape]:
        """Our names and shapes of a released tensor of the given shape."""
        rule, names = self._find(released_name)
        if not isinstance(rule, Split):
            return dict.fromkeys(names, shape)
        sizes = rule.part_sizes(shape[rule.dim])
        dim = rule.dim % len(shape)
        return {
            name: (*shape[:dim], size, *shape[dim + 1 :]) for name, size in zip(names, sizes, strict=True)
        }

    def parts(self, released_name: str, tensor: Tensor) -> dict[str, Tensor]:
        """Our tensors that a released tensor holds."""
        rule, names = self._find(released_name)
        if not isinstance(rule, Split):
            return dict.fromkeys(names, tensor)
        chunks = tensor.split(rule.part_sizes(tensor.shape[rule.dim]), dim=rule.dim)
        # Contiguous copies: a view would keep the fused tensor alive and could not be saved.
        return {name: chunk.contiguous() for name, chunk in zip(names, chunks, strict=True)}

    def to_released(self, name: str) -> str:
        """Released name of one of our tensors (of the fused tensor for a part of a `Split`)."""
        for template, ours in zip(self._released, self._ours, strict=True):
            for our in ours:
                if (values := our.match(name)) is None:
                    continue
                released = template.fill(values)
                # An earlier rule may claim that name for something else.
                if name in self.to_ours(released):
                    return released
        return name

    def load(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Released names to ours."""
        return {
            name: part
            for released, tensor in state.items()
            for name, part in self.parts(released, tensor).items()
        }

    def export(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our names to released ones; dropped tensors do not come back.

        Raises:
            ValueError: If a part of a fused tensor is missing.
        """
        groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in state.items():
            groups[self.to_released(name)][name] = tensor
        exported: dict[str, Tensor] = {}
        for released, parts in groups.items():
            rule, names = self._find(released)
            if missing := [name for name in names if name not in parts]:
                raise ValueError(f"cannot write {released!r}: {missing[0]!r} is missing")
            if isinstance(rule, Split):
                exported[released] = torch.cat([parts[name] for name in names], dim=rule.dim)
            else:
                exported[released] = parts[names[0]]
        return exported


def _our_templates(rule: Rule) -> tuple[Template, ...]:
    match rule:
        case Drop():
            return ()
        case Rename():
            return (Template(rule.ours),)
        case Split():
            return tuple(map(Template, rule.ours))


def _check_placeholders(released: str, ours: str) -> None:
    if Template(released).placeholders != Template(ours).placeholders:
        raise ValueError(f"templates must have the same placeholders: {released!r} and {ours!r}")
