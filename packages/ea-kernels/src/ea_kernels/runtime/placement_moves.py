"""Moving weights to a device for a while, as a whole or one block at a time.

The tensors at home are never given up: on the device there are copies, which take the places of the originals
in their modules and are dropped afterwards. Going home therefore costs nothing and changes nothing, not even
the identity of a parameter; what is written into a copy is lost.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

Transfer = Callable[[Tensor, torch.device], Tensor]
"""Copies a tensor to a device; raises ValueError or `torch.OutOfMemoryError` if it cannot."""


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The plain transfer."""
    return tensor.to(device)


def own_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and buffers of a module without those of its children."""
    parameters = module.named_parameters(recurse=False, remove_duplicate=False)
    buffers = module.named_buffers(recurse=False, remove_duplicate=False)
    return [*parameters, *buffers]


def weight_bytes(modules: Iterable[nn.Module]) -> int:
    """Bytes of what modules themselves hold; a tensor that several of them share counts once."""
    tensors = {id(tensor): tensor for module in modules for _, tensor in own_tensors(module)}
    return sum(tensor.nbytes for tensor in tensors.values())


def blocks_of(component: nn.Module) -> list[nn.Module]:
    """The blocks of a network: the elements of its outermost module lists, in their order."""
    if isinstance(component, nn.ModuleList):
        inner = [blocks_of(entry) if isinstance(entry, nn.ModuleList) else [entry] for entry in component]
    else:
        inner = [blocks_of(child) for child in component.children()]
    return list(dict.fromkeys(block for blocks in inner for block in blocks))


class Group:
    """Weights that move together.

    Args:
        modules: Their owners; what the children of these hold is not meant.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.modules = tuple(modules)
        self._originals: list[tuple[nn.Module, str, Tensor]] = []

    def bring(self, device: torch.device, transfer: Transfer) -> None:
        """Put copies on a device in the places of the originals; after an error all are at home."""
        assert not self._originals, "these weights are away already"
        copies: dict[int, Tensor] = {}
        with ExitStack() as stack:
            stack.callback(self.send_home)
            for module in self.modules:
                for name, original in own_tensors(module):
                    if id(original) not in copies:
                        copies[id(original)] = _copy(original, device, transfer)
                    self._originals.append((module, name, original))
                    setattr(module, name, copies[id(original)])
            stack.pop_all()

    def send_home(self) -> None:
        """Put the originals back and drop the copies."""
        while self._originals:
            module, name, original = self._originals.pop()
            setattr(module, name, original)


def _copy(original: Tensor, device: torch.device, transfer: Transfer) -> Tensor:
    copy = transfer(original.detach(), device)
    if isinstance(original, nn.Parameter):
        return nn.Parameter(copy, requires_grad=original.requires_grad)
    return copy


class _Streamed:
    """Brings a block for its forward calls, and a module inside it that is called on its own for those."""

    def __init__(self, device: torch.device, transfer: Transfer) -> None:
        self._device, self._transfer = device, transfer
        self._group = Group(())
        self._depth = 0

    def enter(self, module: nn.Module, *_: object) -> None:
        """Before a call: the outermost module brings what is in it."""
        self._depth += 1
        if self._depth == 1:
            self._group = Group(module.modules())
            self._group.bring(self._device, self._transfer)

    def leave(self, *_: object) -> None:
        """After a call, also one that raised."""
        self._depth -= 1
        if self._depth == 0:
            self._send_home()

    def _send_home(self) -> None:
        self._group.send_home()

    @contextmanager
    def hooked(self, block: nn.Module) -> Iterator[None]:
        """Have the hooks on a block."""
        with ExitStack() as stack:
            stack.callback(self._send_home)
            for module in block.modules():
                stack.callback(module.register_forward_pre_hook(self.enter).remove)
                stack.callback(module.register_forward_hook(self.leave, always_call=True).remove)
            yield


@contextmanager
def visiting(
    component: nn.Module, device: torch.device, *, by_block: bool = False, transfer: Transfer = to_device
) -> Iterator[None]:
    """Have a component on a device.

    Args:
        component: The network; its weights are at home, on the CPU.
        device: Where to.
        by_block: Whether blocks come one at a time, each for its own forward call; what is outside of blocks
            (embeddings, last layers) stays for the whole visit.
        transfer: How copies get there.
    """
    blocks = blocks_of(component) if by_block else []
    inside = {id(module) for block in blocks for module in block.modules()}
    rest = Group(module for module in component.modules() if id(module) not in inside)
    with ExitStack() as stack:
        stack.callback(rest.send_home)
        rest.bring(device, transfer)
        for block in blocks:
            stack.enter_context(_Streamed(device, transfer).hooked(block))
        yield
