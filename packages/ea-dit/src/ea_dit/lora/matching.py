"""Which layers of a model a LoRA file changes, and what is left over: told before any tensor is read."""

import math
from dataclasses import dataclass
from pathlib import Path

from ea_dit.lora.document import LoraHeader, LoraLayer
from ea_dit.lora.targets import Target, Targets


@dataclass(frozen=True, kw_only=True)
class Match:
    """A layer of a file and the layer of the model that it changes.

    Attributes:
        layer: Of the file.
        target: Of the model.
    """

    layer: LoraLayer
    target: Target


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found.

    Attributes:
        path: The file.
        matched: Layers that are changed.
        unmatched: Names in the file that the model has no layer for, those of foreign tensors among them.
        misshapen: Sentences about layers of another size.
        text_encoder: Names of layers of a text encoder. They are never applied.
    """

    path: Path
    matched: tuple[Match, ...]
    unmatched: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()
    text_encoder: tuple[str, ...] = ()

    @property
    def left_over(self) -> int:
        """How many layers or tensors are not used."""
        return len(self.unmatched) + len(self.misshapen) + len(self.text_encoder)

    def summary(self) -> str:
        """One line with all counts."""
        counts = (
            (len(self.unmatched), "unmatched"),
            (len(self.misshapen), "misshapen"),
            (len(self.text_encoder), "of a text encoder"),
        )
        rest = "".join(f", {count} {what}" for count, what in counts if count)
        return f"{len(self.matched)} of {len(self.matched) + self.left_over} layers matched{rest}"

    def check(self, *, strict: bool = True) -> None:
        """Refuses a file that does not fit.

        Args:
            strict: Refuse what is left over; otherwise only a file of which nothing fits.

        Raises:
            ValueError: One line with the first fault and how many there are.
        """
        if strict and self.misshapen:
            raise ValueError(f"{self.path}: {self.misshapen[0]}{self._more(len(self.misshapen))}")
        if not self.matched:
            names = (*self.unmatched, *self.text_encoder)
            first = f", the first is {names[0]!r}" if names else f": {self.misshapen[0]}"
            raise ValueError(f"{self.path}: fits no layer of this model: {self.summary()}{first}")
        if strict and self.unmatched:
            raise ValueError(
                f"{self.path}: this model has no layer {self.unmatched[0]!r}{self._more(len(self.unmatched))}"
            )
        if strict and self.text_encoder:
            count = len(self.text_encoder)
            first = f"layer {self.text_encoder[0]!r}" + (f" and {count - 1} more are" if count > 1 else " is")
            raise ValueError(
                f"{self.path}: {first} of a text encoder, which is not changed here ({self.summary()})"
            )

    def _more(self, count: int) -> str:
        more = f" and {count - 1} more" if count > 1 else ""
        return f"{more} ({self.summary()})"


def match(header: LoraHeader, targets: Targets) -> Report:
    """Finds the layers that a file changes.

    Args:
        header: Of the file.
        targets: Of the model.

    Raises:
        ValueError: If two layers of the file are the same one of the model.
    """
    matched: list[Match] = []
    taken: dict[str, str] = {}
    unmatched: list[str] = []
    misshapen: list[str] = []
    text_encoder: list[str] = []
    for layer in header.layers:
        if layer.network == "text_encoder":
            text_encoder.append(layer.spelling.prefix + layer.name)
            continue
        target = targets.find(layer.name, flat=layer.spelling.flat)
        if target is None:
            unmatched.append(layer.name)
        elif fault := _misfit(layer, target):
            misshapen.append(fault)
        else:
            for part in target.parts:
                if (other := taken.get(part.layer)) is not None:
                    raise ValueError(
                        f"{header.path}: layers {other!r} and {layer.name!r} are the same ({target.name})"
                    )
                taken[part.layer] = layer.name
            matched.append(Match(layer=layer, target=target))
    return Report(
        path=header.path,
        matched=tuple(matched),
        unmatched=(*unmatched, *header.foreign),
        misshapen=tuple(misshapen),
        text_encoder=tuple(text_encoder),
    )


def _misfit(layer: LoraLayer, target: Target) -> str | None:
    outputs, *rest = target.shape
    inputs = math.prod(rest)
    if layer.size != (outputs, inputs):
        size = " x ".join(map(str, layer.size))
        return f"layer {layer.name!r} changes {size} weights, the model's has {outputs} x {inputs}"
    down = layer.shapes.get("lora_down", ())
    if "lora_mid" not in layer.shapes and len(down) > 2 and _plain(down[1:]) != _plain(tuple(rest)):
        return f"layer {layer.name!r} is a convolution of {list(down[1:])}, the model's of {rest}"
    return None


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the ones at its end."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
