"""How the MAGVIT networks of each generation go through a clip in time.

The layers are the same. What differs is where a clip is cut, what a slice sees of its neighbours, and which
frames stay single when they are doubled.

Shape letters: B batch, C channels, K latent channels, T frames, H height, W width.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ea_vae.geometry import FrameRule, LatentGeometry
from ea_vae.layers.streaming import TemporalPass, ZeroPass, cut_frames, join_slices, run_apart, run_carried


class EncoderNetwork(Protocol):
    """An encoder without its temporal cuts."""

    def __call__(self, x_BCTHW: Tensor, around: TemporalPass | None) -> Tensor:
        """Pixels of a slice to its features."""
        ...


class DecoderNetwork(Protocol):
    """A decoder without its temporal cuts, in two halves."""

    def __call__(self, x_BKTHW: Tensor, around: TemporalPass | None) -> Tensor:
        """Latents of a slice to its pixels."""
        ...

    def begin(self, x_BKTHW: Tensor, around: TemporalPass | None) -> Tensor:
        """Latents to features at the coarsest resolution."""
        ...

    def enlarge(self, x_BCTHW: Tensor, around: TemporalPass | None) -> Tensor:
        """Features at the coarsest resolution to pixels."""
        ...


@dataclass(frozen=True, kw_only=True)
class TemporalMode:
    """One way through time.

    Attributes:
        flag: Key of released configs that chooses it; None if no such key is set.
        rule: Which lengths come back as they were, see `LatentGeometry`.
        encode: Runs an encoder over a clip, in slices of some frames (None does not cut).
        decode: Runs a decoder over latents, in slices of some latent frames (None does not cut), and gives
            the pixels of one after the other.
        whole_groups: Slices of the encoder must be multiples of the temporal compression.
        defined_by_slices: Slices are part of the function, not a way to save memory.
        smoothed: Released pipelines smooth the joints of decoded slices.
    """

    flag: str | None
    rule: FrameRule
    encode: Callable[[EncoderNetwork, Tensor, int | None, LatentGeometry], Tensor]
    decode: Callable[[DecoderNetwork, Tensor, int | None], Iterator[Tensor]]
    whole_groups: bool
    defined_by_slices: bool
    smoothed: bool


def encode_carried(
    encoder: EncoderNetwork, video_BCTHW: Tensor, length: int | None, geometry: LatentGeometry
) -> Tensor:
    """The first frame alone, then slices that see the frames before them."""
    video_BCTHW = geometry.pad_frames(video_BCTHW)
    if length is None:
        return encoder(video_BCTHW, None)
    return join_slices(run_carried(encoder, cut_frames(video_BCTHW, length, first=1)))


def encode_whole(
    encoder: EncoderNetwork, video_BCTHW: Tensor, length: int | None, geometry: LatentGeometry
) -> Tensor:
    """All frames at once, of any number; slices, if they are asked for, as in `encode_carried`."""
    if length is None:
        return encoder(video_BCTHW, None)
    return encode_carried(encoder, video_BCTHW, length, geometry)


def decode_carried(decoder: DecoderNetwork, latents_BKTHW: Tensor, length: int | None) -> Iterator[Tensor]:
    """The first latent frame alone and single, then slices that see the frames before them."""
    if length is None:
        return run_apart(decoder, [latents_BKTHW])
    return run_carried(decoder, cut_frames(latents_BKTHW, length, first=1))


def encode_slices(
    encoder: EncoderNetwork,
    video_BCTHW: Tensor,
    length: int | None,
    geometry: LatentGeometry,  # noqa: ARG001
) -> Tensor:
    """Slices from the first frame on, each treated as a clip of its own."""
    return join_slices(run_apart(encoder, cut_frames(video_BCTHW, length)))


def decode_slices(decoder: DecoderNetwork, latents_BKTHW: Tensor, length: int | None) -> Iterator[Tensor]:
    """Slices from the first latent frame on, each treated as a clip of its own."""
    return run_apart(decoder, cut_frames(latents_BKTHW, length))


def encode_groups(
    encoder: EncoderNetwork,
    video_BCTHW: Tensor,
    length: int | None,
    geometry: LatentGeometry,  # noqa: ARG001
) -> Tensor:
    """Slices between zero frames; the first frame of an odd clip goes alone."""
    parts = cut_frames(video_BCTHW, length, first=_lone_first(video_BCTHW))
    return join_slices(run_apart(encoder, parts, ZeroPass()))


def decode_neighbours(decoder: DecoderNetwork, latents_BKTHW: Tensor, length: int | None) -> Iterator[Tensor]:
    """Slices that see the slice before and the slice after at the coarsest resolution.

    The first latent frame of an odd number is a single picture, which nothing else sees.
    """
    parts = cut_frames(latents_BKTHW, length, first=_lone_first(latents_BKTHW))
    if _lone_first(latents_BKTHW):
        yield decoder(parts.pop(0), ZeroPass(keeps_first=True))
    for index, part in enumerate(parts):
        neighbourhood = parts[max(index - 1, 0) : index + 2]
        start = neighbourhood[0].shape[2] if index else 0
        features = decoder.begin(torch.cat(neighbourhood, dim=2), ZeroPass())
        yield decoder.enlarge(features[:, :, start : start + part.shape[2]], ZeroPass())


def decode_groups(decoder: DecoderNetwork, latents_BKTHW: Tensor, length: int | None) -> Iterator[Tensor]:
    """Slices that see the frames before them, every frame doubled; one latent frame is a single picture."""
    if latents_BKTHW.shape[2] == 1:
        return run_apart(decoder, [latents_BKTHW], ZeroPass(keeps_first=True))
    return run_carried(decoder, cut_frames(latents_BKTHW, length), single_start=False)


def _lone_first(x_BCTHW: Tensor) -> int | None:
    return 1 if x_BCTHW.shape[2] % 2 else None


# In the order in which released configs are read: the first flag that is set wins.
TEMPORAL_MODES: Mapping[str, TemporalMode] = {
    # V5 and V5.1.
    "cached": TemporalMode(
        flag="cache_mag_vae",
        rule="causal",
        encode=encode_carried,
        decode=decode_carried,
        whole_groups=True,
        defined_by_slices=False,
        smoothed=False,
    ),
    # V4.
    "cached-decoder": TemporalMode(
        flag="cache_compression_vae",
        rule="groups",
        encode=encode_groups,
        decode=decode_groups,
        whole_groups=True,
        defined_by_slices=True,
        smoothed=False,
    ),
    # V3.
    "neighbours": TemporalMode(
        flag="slice_compression_vae",
        rule="pairs",
        encode=encode_groups,
        decode=decode_neighbours,
        whole_groups=True,
        defined_by_slices=True,
        smoothed=True,
    ),
    # V2.
    "slices": TemporalMode(
        flag="slice_mag_vae",
        rule="slices",
        encode=encode_slices,
        decode=decode_slices,
        whole_groups=False,
        defined_by_slices=True,
        smoothed=True,
    ),
    "whole": TemporalMode(
        flag=None,
        rule="causal",
        encode=encode_whole,
        decode=decode_carried,
        whole_groups=True,
        defined_by_slices=False,
        smoothed=True,
    ),
}
