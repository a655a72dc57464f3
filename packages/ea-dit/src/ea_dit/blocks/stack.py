"""The one block loop."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from ea_kernels.runtime.recompute import recompute as recompute_call


class BlockStack(nn.ModuleList):
    """Runs blocks one after the other; it never asks what kind of block it runs.

    A block is called as `block(*streams, context)` and returns the streams. Parameter names are those of the
    list ("0.…", "1.…").

    Args:
        blocks: The blocks, first to last.
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__(blocks)

    def forward(
        self, streams: tuple[Tensor, ...], context: Any, *, recompute: bool = False
    ) -> tuple[Tensor, ...]:
        """Runs all blocks.

        Args:
            streams: Token streams, for example video and text.
            context: What every block gets beside them.
            recompute: Keep only the blocks' inputs for the backward pass and run each block again there.

        Returns:
            The streams after the last block.
        """
        for block in self:
            streams = recompute_call(block, *streams, context, enabled=recompute)
        return streams
