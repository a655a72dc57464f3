"""What happens to the networks of a task before the first step."""

import torch

from ea_train.config import RunConfig
from ea_train.loop.optim import Parts
from ea_train.loop.parallel import World
from ea_train.loop.sharding import shard
from ea_train.tasks.base import HasParameterGroups, Task


def prepare(task: Task, config: RunConfig, world: World, device: torch.device) -> None:
    """Bring the networks to the device, alike on all ranks, spread or compiled where the settings say so.

    Raises:
        ValueError: The settings ask for what this task or device cannot do.
    """
    loop = config.loop
    if loop.sharding == "fsdp2" and config.optim.kind != "adamw":
        kind = config.optim.kind
        raise ValueError(
            f"optim.kind {kind} needs whole matrices; use loop.sharding none or optim.kind adamw"
        )
    torch.set_float32_matmul_precision("high" if loop.allow_tf32 else "highest")
    _freeze_the_rest(task)
    for module in task.modules.values():
        module.to(device)
    world.same_start(task.modules.values())
    if loop.sharding == "fsdp2":
        shard(task, world, device)
    if loop.compile:
        for module in task.modules.values():
            module.compile()


def parts_of(task: Task) -> dict[str, Parts]:
    """What a task says about the parameters of its groups, by group."""
    return task.parameter_groups() if isinstance(task, HasParameterGroups) else {}


def _freeze_the_rest(task: Task) -> None:
    """Parameters that a task leaves out of a group are not trained."""
    for group, parts in parts_of(task).items():
        chosen = {id(parameter) for parameters, _ in parts for parameter in parameters}
        for name in task.trainable[group]:
            for parameter in task.modules[name].parameters():
                if id(parameter) not in chosen:
                    parameter.requires_grad_(False)
