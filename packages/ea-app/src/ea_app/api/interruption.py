"""Stopping inside a step: a step of a large model, or decoding, can take minutes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from ea_dit.pipelines import Cancelled


@contextmanager
def stopping(should_stop: Callable[[], bool]) -> Iterator[None]:
    """Ask before every layer of every network that this thread runs in the block.

    Args:
        should_stop: Whether to raise `Cancelled` there; cheap.
    """
    thread = threading.get_ident()

    def check(_module: nn.Module, _arguments: object) -> None:
        if threading.get_ident() == thread and should_stop():
            raise Cancelled("stopped inside a step")

    handle = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()
