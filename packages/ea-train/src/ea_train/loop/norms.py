"""Norms of gradients by parts of a network."""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from ea_train.loop.sharding import whole
from ea_train.tasks.base import Task

_SPLIT = re.compile(r"[./]")  # checkpoints of adapters have slashes where networks have dots


def block_norms(task: Task, trained: Mapping[str, Iterable[nn.Parameter]]) -> dict[str, float]:
    """The norm of the gradient of every block, before it is clipped.

    Args:
        task: Names the parameters.
        trained: By optimiser group.

    Returns:
        By "grad_norm_block/" and the place: "blocks.03" for what is in a numbered part, else the first name.
    """
    found: dict[str, list[Tensor]] = {}
    chosen = {id(parameter) for parameters in trained.values() for parameter in parameters}
    for module in task.modules.values():
        for name, parameter in module.named_parameters():
            if id(parameter) in chosen and parameter.grad is not None:
                found.setdefault(block_of(name), []).append(parameter.grad)
    return {
        f"grad_norm_block/{block}": float(whole(nn.utils.get_total_norm(gradients)))
        for block, gradients in found.items()
    }


def block_of(name: str) -> str:
    """The name up to its first number, which gets two digits to be sorted; without one the first part."""
    parts = _SPLIT.split(name)
    for place, part in enumerate(parts):
        if part.isdigit():
            return ".".join([*parts[:place], f"{int(part):02d}"])
    return parts[0]
