"""The one block loop."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ea_kernels.runtime.recompute import recompute as recompute_call


@dataclass(frozen=True, kw_only=True)
class Skips:
    """Long connections from the outputs of early blocks to the inputs of late ones.

    Attributes:
        sources: Index of a late block to that of the early one whose output (first stream) it takes up.
        merge: Called with the late index, the first stream and the early output; returns the new stream.
    """

    sources: Mapping[int, int]
    merge: Callable[[int, Tensor, Tensor], Tensor]


class PerBlock(tuple[Any, ...]):
    """A context for each block, in their order."""

    __slots__ = ()


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
        self,
        streams: tuple[Tensor, ...],
        context: Any,
        *,
        recompute: bool = False,
        skips: Skips | None = None,
    ) -> tuple[Tensor, ...]:
        """Runs all blocks.

        Args:
            streams: Token streams, for example video and text.
            context: What every block gets beside them, or `PerBlock`.
            recompute: Keep only the blocks' inputs for the backward pass and run each block again there.
            skips: Long connections, None without.

        Returns:
            The streams after the last block.
        """
        sources = {} if skips is None else skips.sources
        wanted = frozenset(sources.values())
        kept: dict[int, Tensor] = {}
        for index, block in enumerate(self):
            if skips is not None and index in sources:
                merged = skips.merge(index, streams[0], kept.pop(sources[index]))
                streams = (merged, *streams[1:])
            given = context[index] if isinstance(context, PerBlock) else context
            streams = recompute_call(block, *streams, given, enabled=recompute)
            if index in wanted:
                kept[index] = streams[0]
        return streams
