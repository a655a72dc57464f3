"""Joining the processes that torchrun or accelerate started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import cast

import torch
import torch.distributed as dist

from ea_train.loop.parallel import World

_PATIENCE = timedelta(days=2)
"""How long ranks wait for one that encodes a data set or writes a checkpoint."""

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[World, torch.device]]:
    """The processes of this run, for the duration of the block, and the device of this one.

    `torchrun` and `accelerate launch` describe them in the environment; without that, this process is alone.

    Args:
        device: Kind of device; of GPUs, each process of a machine takes its own.

    Raises:
        ValueError: The environment is incomplete, or there are more processes than GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(), device
        return
    if missing := [name for name in _VARIABLES if name not in os.environ]:
        raise ValueError(f"WORLD_SIZE is {size}, but {missing[0]} is not set; start with torchrun")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        if device.index >= torch.cuda.device_count():
            raise ValueError(
                f"process {device.index} of this machine has no GPU: there are {torch.cuda.device_count()}; "
                "start as many processes a machine as it has GPUs"
            )
        torch.cuda.set_device(device)
    # What ranks agree on is on the CPU, whatever the networks are on.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        patient = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=_PATIENCE))
        yield World(rank=dist.get_rank(), size=size, patient=patient), device
    finally:
        dist.destroy_process_group()


def sharding_of_launcher() -> str | None:
    """The sharding that the launcher asks for, with the reason in words; None if it asks for nothing."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() in ("true", "1"):
        stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
        return f"DeepSpeed ZeRO-{stage}"
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("true", "1"):
        return "FSDP"
    return None
