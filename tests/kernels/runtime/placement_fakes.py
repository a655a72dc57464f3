"""A recording fake device, and a small network that reads weights in the ways real ones do."""

from __future__ import annotations

import weakref

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")
"""Only the name of a device that is not the CPU: `Recorder` puts copies on the CPU, marked as being away."""


class Away(torch.Tensor):
    """A tensor on the fake device: computing with it and a tensor at home is an error, as on a real one."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            tensors = [leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, torch.Tensor)]
            mixed = any(tensor.ndim > 0 and not isinstance(tensor, cls) for tensor in tensors)
        if mixed:
            raise RuntimeError(f"{getattr(func, '__name__', func)}: expected all tensors on the same device")
        return super().__torch_function__(func, types, args, kwargs or {})

    def detach(self):
        """Itself, so that a parameter made of it is this object and its end can be observed."""
        return self


def away(tensor):
    return tensor.clone().as_subclass(Away)


def at_home(tensor):
    with torch._C.DisableTorchFunctionSubclass():
        return tensor.as_subclass(torch.Tensor)


class Recorder:
    """A transfer to the fake device that sees copies come and go.

    Attributes:
        events: ("in" or "out", name of the weight).
        live: Bytes on the device.
        peak: Most bytes at once.
    """

    def __init__(self, components, capacity=None):
        named = (
            (f"{name}.{path}", tensor)
            for name, part in components.items()
            for path, tensor in [*part.named_parameters(), *part.named_buffers()]
        )
        self.names = {tensor.data_ptr(): name for name, tensor in named}
        self.capacity = capacity
        self.events, self.live, self.peak = [], 0, 0

    def __call__(self, tensor, device):
        assert device == DEVICE
        if self.capacity is not None and self.live + tensor.nbytes > self.capacity:
            raise torch.OutOfMemoryError("full")
        copy, name = away(tensor), self.names.get(tensor.data_ptr(), "?")
        self.live += tensor.nbytes
        self.peak = max(self.peak, self.live)
        self.events.append(("in", name))
        weakref.finalize(copy, self._drop, name, tensor.nbytes)
        return copy

    def _drop(self, name, size):
        self.live -= size
        self.events.append(("out", name))

    def order(self, depth):
        """Events with names cut to a number of segments, repetitions merged."""
        merged = []
        for kind, name in self.events:
            entry = (kind, ".".join(name.split(".")[:depth]))
            if merged[-1:] != [entry]:
                merged.append(entry)
        return merged


class Block(nn.Module):
    """Reads the weight of its norm without calling the norm, and a buffer."""

    def __init__(self, width, hidden):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.register_buffer("shift", torch.randn(width))
        self.fails = False

    def forward(self, x):
        if self.fails:
            raise RuntimeError("broken block")
        y = x * self.norm.weight + self.shift
        return x + self.down(torch.tanh(self.up(y)))


class Network(nn.Module):
    """A first layer, blocks (the second is larger), and a last layer whose weight is that of the first."""

    def __init__(self, width=16, hidden=(16, 48, 16)):
        super().__init__()
        self.first = nn.Linear(width, width)
        self.blocks = nn.ModuleList(Block(width, size) for size in hidden)
        self.scale = nn.Parameter(torch.randn(width), requires_grad=False)
        self.last = nn.Linear(width, width, bias=False)
        self.last.weight = self.first.weight

    def forward(self, x):
        x = self.first(x) * self.scale
        for block in self.blocks:
            x = block(x)
        return self.last(x)


def components():
    torch.manual_seed(0)
    return {"text_encoder": Network(8, (8,)), "transformer": Network(), "vae": nn.Conv1d(3, 3, 3)}


def snapshot(parts):
    """Everything that modules hold: identities of weights, names of attributes, hooks."""
    return [
        (
            path,
            id(module),
            [(name, id(tensor)) for name, tensor in [*module.named_parameters(), *module.named_buffers()]],
            sorted(vars(module)),
            len(module._forward_hooks) + len(module._forward_pre_hooks),
        )
        for part in parts.values()
        for path, module in part.named_modules()
    ]
