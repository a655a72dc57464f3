"""Starting a run from the weights of an earlier one."""

from pathlib import Path

from torch import nn


def load_start(network: nn.Module, start: nn.Module, where: Path) -> None:
    """Copy the weights of `start` into `network`.

    Args:
        network: What is going to be trained.
        start: A network of the same sizes.
        where: Where `start` came from, for the message.

    Raises:
        ValueError: The sizes differ.
    """
    wanted = {name: list(value.shape) for name, value in network.state_dict().items()}
    there = {name: list(value.shape) for name, value in start.state_dict().items()}
    for name in sorted(wanted.keys() | there.keys()):
        if wanted.get(name) != there.get(name):
            raise ValueError(
                f"{where} does not fit these settings: {name} is {there.get(name)} there and "
                f"{wanted.get(name)} here; use the settings it was trained with"
            )
    network.load_state_dict(start.state_dict())
