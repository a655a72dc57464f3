"""A layer with adapters over it. Shapes: O outputs, I inputs, R rank."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ea_dit.lora.factors import Factors, Kind


class Adapter(nn.Module):
    """Adds strength * dW @ x.

    Attributes:
        strength: 0 switches it off, exactly.
        dropout: Share of the values of x that it does not see while it learns; the others are scaled up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.strength = 1.0
        self.dropout = 0.0

    def seen(self, x: Tensor) -> Tensor:
        """What it sees of its input: all, outside of training."""
        return F.dropout(x, self.dropout, self.training) if self.dropout else x

    @abstractmethod
    def delta(self) -> Tensor:
        """dW (O, I) in float32, without the strength."""


class LowRank(Adapter):
    """dW = scale * up @ down, applied without making the product.

    Args:
        up: (O, R).
        down: (R, I).
        scale: alpha / R.
        trainable: Whether the factors are learned.
    """

    def __init__(self, up: Tensor, down: Tensor, scale: float, *, trainable: bool = False) -> None:
        super().__init__()
        self.up = nn.Parameter(up, requires_grad=trainable)
        self.down = nn.Parameter(down, requires_grad=trainable)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        inner = F.linear(self.seen(x.to(self.down.dtype)), self.down)
        return F.linear(inner * (self.scale * self.strength), self.up)

    def delta(self) -> Tensor:
        """dW (O, I) in float32."""
        return self.up.detach().float() @ self.down.detach().float() * self.scale


class Product(Adapter):
    """dW of LoHa, LoKr or a convolution with a core: made anew in every call, so that it takes no memory.

    Args:
        factors: Of the layer; those that are parameters learn.
        rows: The rows of dW that this layer has.
    """

    def __init__(self, factors: Factors, rows: slice) -> None:
        super().__init__()
        self._kind: Kind = factors.kind
        self._alpha, self._rows = factors.alpha, rows
        self._whole_scale = factors.whole_scale
        for name, tensor in factors.tensors.items():
            # A parameter is one that learns; the layers that are one in files share it.
            own = tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor, requires_grad=False)
            self.register_parameter(name, own)

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return F.linear(self.seen(x), (self.delta() * self.strength).to(x.dtype))

    def delta(self) -> Tensor:
        """dW (O, I) in float32."""
        tensors = dict(self.named_parameters())
        factors = Factors(kind=self._kind, tensors=tensors, alpha=self._alpha, whole_scale=self._whole_scale)
        return factors.delta()[self._rows]


class AdaptedLayer(nn.Module):
    """Stands where a layer stood and adds what adapters make of its input.

    Its state dict is that of the layer: adapters are no weights of the model.

    Args:
        base: The layer; one with a `patches` method is fed with what that makes of the input.
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        # No list: lists of modules are what placements take for the blocks of a network.
        self.adapters = nn.ModuleDict()
        self._original: tuple[nn.Parameter, ...] = ()
        self.register_load_state_dict_pre_hook(_load_into_base)

    def forward(self, x: Tensor) -> Tensor:
        """As the layer."""
        y = self.base(x)
        active = [] if self.merged else [adapter for adapter in self._own() if adapter.strength != 0]
        if not active:
            return y
        patches = getattr(self.base, "patches", None)
        rows = x if patches is None else patches(x)
        for adapter in active:
            y = y + adapter(rows).to(y.dtype)
        return y

    @property
    def merged(self) -> bool:
        """Whether the adapters are in the weight."""
        return bool(self._original)

    def merge(self) -> None:
        """Puts the sum of weight and adapters, rounded once, in the place of the weight, which is kept."""
        assert not self.merged
        weight = self.base.weight
        assert isinstance(weight, nn.Parameter)
        change = self.change(weight.device)
        if change is None:
            return
        total = weight.detach().float() + change.reshape(weight.shape)
        self._original = (weight,)
        self.base.weight = nn.Parameter(total.to(weight.dtype), requires_grad=weight.requires_grad)

    def unmerge(self) -> None:
        """Puts the kept weight back, the same one, where the network is now."""
        if self._original:
            (weight,), now = self._original, self.base.weight
            assert isinstance(now, nn.Parameter)
            weight.data = weight.data.to(device=now.device, dtype=now.dtype)
            self.base.weight = weight
            self._original = ()

    def add(self, adapter: Adapter) -> None:
        """Puts one more over the layer."""
        weight = self.base.weight
        assert isinstance(weight, Tensor)
        self._keep([*self._own(), adapter.to(weight.device).train(self.training)])

    def drop(self, adapter: Adapter) -> bool:
        """Takes one off; returns whether none is left."""
        self._keep([other for other in self._own() if other is not adapter])
        return not self.adapters

    def _keep(self, adapters: list[Adapter]) -> None:
        self.adapters = nn.ModuleDict({str(number): adapter for number, adapter in enumerate(adapters)})
        self.adapters.training = self.training

    @torch.no_grad()
    def change(self, device: torch.device) -> Tensor | None:
        """Sum of all strength * dW in float32; None where all are off."""
        total: Tensor | None = None
        for adapter in self._own():
            if adapter.strength != 0:
                part = adapter.delta().to(device) * adapter.strength
                total = part if total is None else total + part
        return total

    def _own(self) -> Iterator[Adapter]:
        for adapter in self.adapters.values():
            assert isinstance(adapter, Adapter)
            yield adapter

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """That of the layer; the weight before merging."""
        state = self.base.state_dict(*args, **kwargs)
        if self._original:
            (weight,) = self._original
            kept = weight if kwargs.get("keep_vars") else weight.detach()
            state[f"{kwargs.get('prefix', '')}weight"] = kept
        return state

    def __getattr__(self, name: str) -> Any:
        """What is asked of the layer (its weight, its sizes) is asked of it."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base":
                raise
            return getattr(super().__getattr__("base"), name)


def _load_into_base(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Renames what is loaded to where it is; adapters stay as they are, and are taken out of the weight."""
    assert isinstance(module, AdaptedLayer)
    module.unmerge()
    for name in [key for key in state if key.startswith(prefix)]:
        state[f"{prefix}base.{name.removeprefix(prefix)}"] = state.pop(name)
    for name, tensor in module.named_parameters():
        if name.startswith("adapters."):
            state[prefix + name] = tensor
