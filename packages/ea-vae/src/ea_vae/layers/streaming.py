"""What a temporal slice of a clip sees of the frames around it.

A clip may go through a network in slices. At its ends every 3-tap convolution needs frames that the slice
does not have. A causal network takes them from the slice before: they are collected in a `TemporalCache`,
which goes into a pass and comes out of it; no module remembers anything. Other networks put zeros there.
Layers get the choice as a `TemporalPass`, or None for a whole clip: causal, its first frame repeated before.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class TemporalPass(Protocol):
    """One forward call of an encoder or decoder on one slice."""

    @property
    def keeps_first(self) -> bool:
        """Whether the first frame of the slice stays single where frames are doubled."""
        ...

    @property
    def causal(self) -> bool:
        """Whether a convolution sees no frame after the one that it makes."""
        ...

    @property
    def at_start(self) -> bool:
        """Whether copies of the first frame stand for the past."""
        ...

    def extend(self, x_BCTHW: Tensor, *, taps: int, stride: int, activate: bool = False) -> Tensor:
        """Put the frames around a slice that a convolution needs.

        Args:
            x_BCTHW: The slice.
            taps: Temporal kernel size of the convolution.
            stride: Temporal stride of the convolution.
            activate: Whether the convolution is of the SiLU of the slice.
        """
        ...


@dataclass(frozen=True)
class ZeroPass:
    """A slice on its own, with zero frames before and after it.

    Attributes:
        keeps_first: See `TemporalPass`; for a single picture.
    """

    keeps_first: bool = False

    @property
    def causal(self) -> bool:
        """It is not: there are frames after the slice too, if only black ones."""
        return False

    @property
    def at_start(self) -> bool:
        """Black frames stand for the past."""
        return False

    def extend(self, x_BCTHW: Tensor, *, taps: int, stride: int, activate: bool = False) -> Tensor:
        """Put as many zero frames on both sides as keep the length at stride 1."""
        del stride
        x_BCTHW = F.silu(x_BCTHW) if activate else x_BCTHW
        return F.pad(x_BCTHW, (0, 0, 0, 0, taps // 2, taps // 2))


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

    It is the `TemporalPass` of one forward call of an encoder or decoder. A network is always traversed in
    the same order, so the position in the cache identifies the convolution.

    Args:
        cache: What came out with the slice before; empty at the beginning of a clip.
        single_start: Whether the first frame of a clip stays single where frames are doubled.
    """

    def __init__(self, cache: TemporalCache, *, single_start: bool = True) -> None:
        self.at_start = cache.at_start
        self.keeps_first = single_start and cache.at_start
        self.causal = True
        self._past: Iterator[Tensor] = iter(cache.tails)
        self._future: list[Tensor] = []

    def extend(self, x_BCTHW: Tensor, *, taps: int, stride: int, activate: bool = False) -> Tensor:
        """Put the past frames in front of a slice and keep its tail for the next one.

        Returns:
            The slice with `taps - 1` copies of its first frame in front at the beginning of a clip, else with
            the `taps - stride` frames that the convolution has not finished with.
        """
        if self.at_start:
            x_BCTHW = after_first_frame(x_BCTHW, taps - 1, activate=activate)
        else:
            x_BCTHW = _after(next(self._past), x_BCTHW, activate=activate)
        # A copy: as a view the tail would keep the whole slice in memory until the next one has passed.
        self._future.append(x_BCTHW[:, :, x_BCTHW.shape[2] - (taps - stride) :].clone())
        return x_BCTHW

    def finish(self) -> TemporalCache:
        """The cache for the next slice."""
        return TemporalCache(tuple(self._future))


def after_first_frame(x_BCTHW: Tensor, count: int, *, activate: bool = False) -> Tensor:
    """A clip, or its SiLU, after `count` copies of its first frame: [B, C, count + T, H, W]."""
    first = x_BCTHW[:, :, :1]
    first = F.silu(first) if activate else first
    return _after(first.expand(-1, -1, count, -1, -1), x_BCTHW, activate=activate)


def _after(past_BCTHW: Tensor, x_BCTHW: Tensor, *, activate: bool) -> Tensor:
    """A slice, or its SiLU, after frames of the past (whose SiLU they are)."""
    if not activate or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return torch.cat((past_BCTHW, F.silu(x_BCTHW) if activate else x_BCTHW), dim=2)
    # The same without a copy: the activation writes to its place behind the past.
    frames = past_BCTHW.shape[2]
    shape = (*x_BCTHW.shape[:2], frames + x_BCTHW.shape[2], *x_BCTHW.shape[3:])
    joined = torch.empty(
        shape, dtype=x_BCTHW.dtype, device=x_BCTHW.device, memory_format=memory_format_of(x_BCTHW)
    )
    joined[:, :, :frames] = past_BCTHW
    torch.ops.aten.silu.out(x_BCTHW, out=joined[:, :, frames:])
    return joined


def memory_format_of(x: Tensor) -> torch.memory_format:
    """Channels last if the clip or picture is, else contiguous."""
    last = torch.channels_last_3d if x.ndim == 5 else torch.channels_last
    return last if x.is_contiguous(memory_format=last) and not x.is_contiguous() else torch.contiguous_format


def cut_frames(x_BCTHW: Tensor, length: int | None, *, first: int | None = None) -> list[Tensor]:
    """Consecutive slices of a clip.

    Args:
        x_BCTHW: The clip.
        length: Frames per slice, fewer in the last one; None puts all that remain into one.
        first: Frames in the first slice if it has another length.
    """
    num_frames = x_BCTHW.shape[2]
    length = num_frames if length is None else length
    start = min(length if first is None else first, num_frames)
    edges = (0, *range(start, num_frames, length), num_frames)
    return [x_BCTHW[:, :, begin:end] for begin, end in pairwise(edges)]


def run_apart(
    network: Callable[[Tensor, TemporalPass | None], Tensor],
    parts: Sequence[Tensor],
    around: TemporalPass | None = None,
) -> Tensor:
    """Consecutive slices of a clip through a network, none seeing another.

    Args:
        network: Encoder or decoder of one slice.
        parts: The slices.
        around: What each sees in place of the frames around it; None makes each a clip of its own.

    Returns:
        What comes out, put together along time.
    """
    return torch.cat([network(part, around) for part in parts], dim=2)


def run_carried(
    network: Callable[[Tensor, TemporalStream], Tensor], parts: Sequence[Tensor], *, single_start: bool = True
) -> Tensor:
    """Consecutive slices of a clip through a network, each seeing the frames before it.

    Args:
        network: Encoder or decoder of one slice.
        parts: The slices.
        single_start: See `TemporalStream`.

    Returns:
        What comes out, put together along time.
    """
    cache = TemporalCache()
    outputs: list[Tensor] = []
    for part in parts:
        stream = TemporalStream(cache, single_start=single_start)
        outputs.append(network(part, stream))
        cache = stream.finish()
    return torch.cat(outputs, dim=2)
