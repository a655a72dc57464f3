"""State that a causal network carries from one temporal slice to the next.

A clip may go through a causal network in slices. Every 3-tap convolution then needs the last input frames
of the slice before. Those frames are collected in a `TemporalCache`, which goes into a pass and comes out
of it; no module remembers anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TemporalCache:
    """The input frames that each temporal convolution needs from the past, in the order of the calls.

    An empty cache marks the beginning of a clip.

    Attributes:
        tails: One tensor [B, C, 1 or 2, H, W] per convolution.
    """

    tails: tuple[Tensor, ...] = ()

    @property
    def at_start(self) -> bool:
        """Whether no slice has been processed yet."""
        return not self.tails


class TemporalStream:
    """Cursor over a cache during one pass: every convolution takes its past from it and leaves its future.

    It lives for one forward call of an encoder or decoder. A network is always traversed in the same order,
    so the position in the cache identifies the convolution.
    """

    def __init__(self, cache: TemporalCache) -> None:
        self.at_start = cache.at_start
        self._past: Iterator[Tensor] = iter(cache.tails)
        self._future: list[Tensor] = []

    def extend(self, x_BCTHW: Tensor, *, taps: int, stride: int) -> Tensor:
        """Put the past frames in front of a slice and keep its tail for the next one.

        Args:
            x_BCTHW: The slice.
            taps: Temporal kernel size of the convolution.
            stride: Temporal stride of the convolution.

        Returns:
            The slice with `taps - 1` copies of its first frame in front at the beginning of a clip, else with
            the `taps - stride` frames that the convolution has not finished with.
        """
        past = first_frame_copies(x_BCTHW, taps - 1) if self.at_start else next(self._past)
        x_BCTHW = torch.cat((past, x_BCTHW), dim=2)
        self._future.append(x_BCTHW[:, :, x_BCTHW.shape[2] - (taps - stride) :])
        return x_BCTHW

    def finish(self) -> TemporalCache:
        """The cache for the next slice."""
        return TemporalCache(tuple(self._future))


def first_frame_copies(x_BCTHW: Tensor, count: int) -> Tensor:
    """A view of `count` copies of the first frame, [B, C, count, H, W]."""
    return x_BCTHW[:, :, :1].expand(-1, -1, count, -1, -1)
