"""Networks that are spread over ranks (FSDP2), and whole ones."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from ea_train.loop.parallel import World
from ea_train.tasks.base import Task

_ENTRIES = ("encode_clip", "decode_clip")
"""Methods besides `forward` through which tasks call their networks."""


def shard(task: Task, world: World, device: torch.device) -> None:
    """Spread the networks of a task over all ranks; with one rank they stay as they are.

    Each layer of a list of layers is gathered when it is used and freed again; the rest of a network is
    gathered as one.

    Raises:
        ValueError: The task trains several groups against each other.
    """
    if len(task.trainable) > 1:
        raise ValueError(
            "loop.sharding fsdp2 works for tasks with one loss, and this one trains "
            f"{' against '.join(task.trainable)}; use none"
        )
    if world.size == 1:
        return
    mesh = init_device_mesh(device.type, (world.size,))
    for module in task.modules.values():
        for layers in module.modules():
            if isinstance(layers, nn.ModuleList):
                for layer in layers:
                    if any(True for _ in layer.parameters()):
                        fully_shard(layer, mesh=mesh)
        fully_shard(module, mesh=mesh)
        for name in _ENTRIES:
            if hasattr(module, name):
                register_fsdp_forward_method(module, name)


@torch.no_grad()
def whole(tensor: Tensor) -> Tensor:
    """A tensor on the CPU, contiguous, gathered from all ranks if it is spread over them."""
    tensor = tensor.detach()
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    return tensor.cpu().contiguous()


@torch.no_grad()
def like(example: Tensor, tensor: Tensor) -> Tensor:
    """A whole tensor, spread over the ranks as `example` is."""
    if not isinstance(example, DTensor):
        return tensor
    # Every rank has all of it, so none needs to send anything.
    return distribute_tensor(
        tensor.to(example.device), example.device_mesh, example.placements, src_data_rank=None
    )


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor, which shares its memory; the tensor itself if it is not spread."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def release(modules: Iterable[nn.Module]) -> None:
    """Drop what is gathered: a forward pass without a backward pass keeps it, and would use it again."""
    for module in modules:
        for layer in module.modules():
            if isinstance(layer, FSDPModule):
                layer.reshard()


@contextmanager
def gathered(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Put whole parameters, on the CPU, in the place of spread ones for the duration of the block.

    Changes to them are lost.
    """
    modules = list(modules)
    release(modules)
    kept = [
        (layer, name, parameter)
        for module in modules
        for layer in module.modules()
        for name, parameter in layer.named_parameters(recurse=False)
        if isinstance(parameter, DTensor)
    ]
    for layer, name, parameter in kept:
        layer.register_parameter(name, nn.Parameter(whole(parameter), requires_grad=False))
    try:
        yield
    finally:
        for layer, name, parameter in kept:
            layer.register_parameter(name, parameter)
