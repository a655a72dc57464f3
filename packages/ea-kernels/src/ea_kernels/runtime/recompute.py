"""The one place where activations are dropped and computed again in the backward pass."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch.utils.checkpoint import checkpoint

R = TypeVar("R")


def recompute(function: Callable[..., R], *args: Any, enabled: bool = True, **kwargs: Any) -> R:
    """Call a function, keeping only its inputs for the backward pass.

    Args:
        function: A module or function; called again in the backward pass with the same random state.
        *args: Its arguments.
        enabled: With False the function is simply called.
        **kwargs: Its keyword arguments.

    Returns:
        What the function returns.
    """
    if not enabled:
        return function(*args, **kwargs)
    return checkpoint(function, *args, use_reentrant=False, **kwargs)
