"""What may take the place of all blocks of a step."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor


class Shortcut(Protocol):
    """Gives what comes out of a network's blocks, with or without running them."""

    def __call__(self, tokens_BLD: Tensor, signal: Callable[[], Tensor], run: Callable[[], Tensor]) -> Tensor:
        """Returns what `run` would return, or an estimate of it.

        Args:
            tokens_BLD: Video tokens before the first block.
            signal: Makes what the first block makes of them and of the timestep, at little cost.
            run: Runs all blocks.
        """
        ...
