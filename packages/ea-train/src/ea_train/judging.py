"""Networks as they are outside of training."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def judged(network: nn.Module) -> Iterator[None]:
    """The network as it is outside of training, and every part in its own mode again after that."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
