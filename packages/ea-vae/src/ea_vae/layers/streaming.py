"""What a temporal slice of a clip sees of the frames around it.

A clip may go through a network in slices. At its ends every 3-tap convolution needs frames that the slice
does not have. A causal network takes them from the slice before: they are collected in a `TemporalCache`,
which goes into a pass and comes out of it; no module remembers anything. Other networks put zeros there.
Layers get the choice as a `TemporalPass`, or None for a whole clip: causal, its first frame repeated before.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from ea_kernels.ops import join_frames, joins_in_one_pass, writes_in_place
from ea_vae.layers.layout import empty_clip
from ea_vae.layers.norm import ClipGroupNorm


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

    def extend(
        self, x_BCTHW: Tensor, *, taps: int, stride: int, norm: ClipGroupNorm | None = None, edge: int = 0
    ) -> Tensor:
        """Put the frames around a slice that a convolution needs.

        Args:
            x_BCTHW: The slice.
            taps: Temporal kernel size of the convolution.
            stride: Temporal stride of the convolution.
            norm: If the convolution is of the SiLU of this norm of the slice.
            edge: Zero rows and columns that it needs at the bottom and on the right.
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

    def extend(
        self, x_BCTHW: Tensor, *, taps: int, stride: int, norm: ClipGroupNorm | None = None, edge: int = 0
    ) -> Tensor:
        """Put as many zero frames on both sides as keep the length at stride 1."""
        del stride
        joined = _between(x_BCTHW, taps // 2, taps // 2, norm, edge)
        if joined is None:
            return F.pad(_activated(x_BCTHW, norm), (0, edge, 0, edge, taps // 2, taps // 2))
        joined[:, :, : taps // 2] = 0
        joined[:, :, joined.shape[2] - taps // 2 :] = 0
        return joined


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

    def extend(
        self, x_BCTHW: Tensor, *, taps: int, stride: int, norm: ClipGroupNorm | None = None, edge: int = 0
    ) -> Tensor:
        """Put the past frames in front of a slice and keep its tail for the next one.

        Returns:
            The slice with `taps - 1` copies of its first frame in front at the beginning of a clip, else with
            the `taps - stride` frames that the convolution has not finished with.
        """
        past, keep = None if self.at_start else next(self._past), taps - stride
        if joins_in_one_pass(x_BCTHW):
            x_BCTHW = _with_edge(_activated(x_BCTHW, norm), edge)
            past = _copies_of_first(x_BCTHW, taps - 1) if past is None else past
            x_BCTHW, tail = join_frames(past, x_BCTHW, keep=keep)
        else:
            if past is None:
                x_BCTHW = after_first_frame(x_BCTHW, taps - 1, norm, edge=edge)
            else:
                x_BCTHW = _after(past, x_BCTHW, norm, edge)
            # A copy: as a view the tail would keep the whole slice in memory until the next one has passed.
            tail = x_BCTHW[:, :, x_BCTHW.shape[2] - keep :].clone()
        self._future.append(tail)
        return x_BCTHW

    def finish(self) -> TemporalCache:
        """The cache for the next slice."""
        return TemporalCache(tuple(self._future))


def after_first_frame(
    x_BCTHW: Tensor, count: int, norm: ClipGroupNorm | None = None, *, edge: int = 0
) -> Tensor:
    """A clip, or the SiLU of a norm of it, after `count` copies of its first frame.

    Returns:
        [B, C, count + T, H + edge, W + edge]; rows and columns of zeros come last.
    """
    joined = _between(x_BCTHW, count, 0, norm, edge)
    if joined is None:
        x_BCTHW = _with_edge(_activated(x_BCTHW, norm), edge)
        return torch.cat((_copies_of_first(x_BCTHW, count), x_BCTHW), dim=2)
    joined[:, :, :count] = joined[:, :, count : count + 1]
    return joined


def _copies_of_first(x_BCTHW: Tensor, count: int) -> Tensor:
    return x_BCTHW[:, :, :1].expand(-1, -1, count, -1, -1)


def _after(past_BCTHW: Tensor, x_BCTHW: Tensor, norm: ClipGroupNorm | None, edge: int) -> Tensor:
    """A slice, or the SiLU of a norm of it, after frames of the past (which are done, edge and all)."""
    frames = past_BCTHW.shape[2]
    joined = _between(x_BCTHW, frames, 0, norm, edge)
    if joined is None:
        return torch.cat((past_BCTHW, _with_edge(_activated(x_BCTHW, norm), edge)), dim=2)
    joined[:, :, :frames] = past_BCTHW
    return joined


def _between(
    x_BCTHW: Tensor, before: int, after: int, norm: ClipGroupNorm | None, edge: int
) -> Tensor | None:
    """New memory with a slice, or the SiLU of a norm of it, written to its place between other frames.

    None where a gradient or a compiler needs it made by operations that return something new.
    """
    if not writes_in_place(x_BCTHW):
        return None
    batch, channels, frames, height, width = x_BCTHW.shape
    shape = (batch, channels, before + frames + after, height + edge, width + edge)
    joined = empty_clip(*shape, like=x_BCTHW)
    place = joined[:, :, before : before + frames]
    if edge:
        place[:, :, :, height:] = 0
        place[..., width:] = 0
        place = place[:, :, :, :height, :width]
    _activated(x_BCTHW, norm, out=place)
    return joined


def _with_edge(x_BCTHW: Tensor, edge: int) -> Tensor:
    return F.pad(x_BCTHW, (0, edge, 0, edge)) if edge else x_BCTHW


def _activated(x_BCTHW: Tensor, norm: ClipGroupNorm | None, *, out: Tensor | None = None) -> Tensor:
    if norm is not None:
        return norm(x_BCTHW, activate=True, out=out)
    return x_BCTHW if out is None else out.copy_(x_BCTHW)


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
) -> Iterator[Tensor]:
    """Consecutive slices of a clip through a network, none seeing another.

    Args:
        network: Encoder or decoder of one slice.
        parts: The slices.
        around: What each sees in place of the frames around it; None makes each a clip of its own.

    Yields:
        What comes out of every slice.
    """
    for part in parts:
        yield network(part, around)


def run_carried(
    network: Callable[[Tensor, TemporalStream], Tensor], parts: Sequence[Tensor], *, single_start: bool = True
) -> Iterator[Tensor]:
    """Consecutive slices of a clip through a network, each seeing the frames before it.

    Args:
        network: Encoder or decoder of one slice.
        parts: The slices.
        single_start: See `TemporalStream`.

    Yields:
        What comes out of every slice.
    """
    cache = TemporalCache()
    for part in parts:
        stream = TemporalStream(cache, single_start=single_start)
        yield network(part, stream)
        cache = stream.finish()


def join_slices(slices: Iterable[Tensor]) -> Tensor:
    """Slices of a clip put together along time; a single one is not copied."""
    found = list(slices)
    return found[0] if len(found) == 1 else torch.cat(found, dim=2)
