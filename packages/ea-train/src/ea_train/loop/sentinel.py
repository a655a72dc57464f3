"""Where numbers that are not finite come from."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from ea_train.loop.sharding import local


class Sentinel:
    """Watches every layer of some networks during one forward and backward pass.

    Attributes:
        finding: The first layer whose numbers were not finite, in words; None while all are.
    """

    def __init__(self) -> None:
        self.finding: str | None = None

    @contextmanager
    def watching(self, modules: Mapping[str, nn.Module]) -> Iterator[None]:
        """Look at the outputs of all layers, and at the gradients that reach them, during the block."""
        handles = [
            layer.register_forward_hook(self._forward_hook(f"{name}.{path}" if path else name))
            for name, module in modules.items()
            for path, layer in module.named_modules()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _forward_hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(layer: nn.Module, inputs: Any, output: Any) -> None:
            for tensor in _tensors(output):
                if self.finding is None and (bad := _oddness(tensor)):
                    cause = _cause(layer, inputs)
                    self.finding = f"{name} ({type(layer).__name__}, {_kind(tensor)}) gives {bad} {cause}"
                if tensor.requires_grad:
                    tensor.register_hook(self._gradient_hook(name, layer))

        return look

    def _gradient_hook(self, name: str, layer: nn.Module) -> Callable[[Tensor], None]:
        def look(gradient: Tensor) -> None:
            if self.finding is None and (bad := _oddness(gradient)):
                kind = f"{type(layer).__name__}, {_kind(gradient)}"
                self.finding = f"the gradient at the output of {name} ({kind}) is {bad}"

        return look


def _cause(layer: nn.Module, inputs: Any) -> str:
    for name, parameter in layer.named_parameters():
        if bad := _oddness(parameter.detach()):
            return f"because its {name} holds {bad}"
    if any(_oddness(tensor) for tensor in _tensors(inputs)):
        return "from input that has it already"
    return "from finite input"


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in cast(Mapping[Any, Any], value).values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in cast(list[Any], value):
            yield from _tensors(item)


def _oddness(tensor: Tensor) -> str | None:
    values = local(tensor.detach())
    if not values.is_floating_point() or bool(torch.isfinite(values).all()):
        return None
    return "nan" if bool(torch.isnan(values).any()) else "inf"


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
