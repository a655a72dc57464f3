"""Running an autoencoder under a plan: batches outside, tiles in them, temporal slices innermost.

What is decoded comes as a stream of slices, so that a caller can use the first frames while the next are
made.

Shape letters: B batch, C channels, K latent channels, T frames, H height, W width.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from ea_vae.execution.plan import ExecutionPlan
from ea_vae.execution.tiles import mix_corner
from ea_vae.geometry import LatentGeometry
from ea_vae.layers.streaming import join_slices


class SlicedAutoencoder(Protocol):
    """What is run."""

    @property
    def geometry(self) -> LatentGeometry:
        """Compression in time and space."""
        ...

    def encode_frames(self, video_BCTHW: Tensor, slice_frames: int | None) -> Tensor:
        """Moments [B, 2K, t, h, w] of a clip or a tile of it, in temporal slices."""
        ...

    def decode_parts(self, latents_BKTHW: Tensor, slice_latents: int | None) -> Iterator[Tensor]:
        """Pixels [B, C, T, H, W] of latents or a tile of them, one temporal slice after the other."""
        ...


def run_encode(vae: SlicedAutoencoder, video_BCTHW: Tensor, plan: ExecutionPlan) -> Tensor:
    """Moments of clips of any length, see `VideoAutoencoder.encode`."""
    if video_BCTHW.ndim != 5 or 0 in video_BCTHW.shape:
        raise ValueError(f"video must have the shape [B, C, T, H, W], got {list(video_BCTHW.shape)}")
    vae.geometry.latent_size(*video_BCTHW.shape[-2:])
    grid = plan.encoder_grid

    def one_pass(x: Tensor) -> Tensor:
        return vae.encode_frames(x, plan.encoder_slice_frames)

    def one_batch(x: Tensor) -> Tensor:
        if not (plan.tile_encoder and grid.needed(x)):
            return one_pass(x)
        grid.check_edges(x, smallest=vae.geometry.space)
        return grid.join([[one_pass(tile) for tile in row] for row in grid.cut(x)])

    return _batches(one_batch, video_BCTHW, plan.batch_size)


def run_decode(
    vae: SlicedAutoencoder, latents_BKTHW: Tensor, plan: ExecutionPlan, *, num_frames: int | None = None
) -> Tensor:
    """Pixels of latents, see `VideoAutoencoder.decode`."""
    return join_slices(stream_decode(vae, latents_BKTHW, plan, num_frames=num_frames))


def stream_decode(
    vae: SlicedAutoencoder, latents_BKTHW: Tensor, plan: ExecutionPlan, *, num_frames: int | None = None
) -> Iterator[Tensor]:
    """Pixels of latents slice by slice, see `VideoAutoencoder.stream_decode`."""
    if latents_BKTHW.ndim != 5 or 0 in latents_BKTHW.shape:
        raise ValueError(f"latents must have the shape [B, K, t, h, w], got {list(latents_BKTHW.shape)}")
    check_num_frames(vae, latents_BKTHW, plan, num_frames)
    tiled = plan.tile_decoder and plan.decoder_grid.needed(latents_BKTHW)
    if tiled or (plan.batch_size is not None and latents_BKTHW.shape[0] > plan.batch_size):
        slices = _decode_whole(vae, latents_BKTHW, plan, tiled=tiled)
    else:
        slices = vae.decode_parts(latents_BKTHW, plan.decoder_slice_latents)
    return _first_frames(slices, num_frames)


def _decode_whole(
    vae: SlicedAutoencoder, latents_BKTHW: Tensor, plan: ExecutionPlan, *, tiled: bool
) -> Iterator[Tensor]:
    """All frames at once: each tile and each part of a batch goes through time before the next one begins.

    Side by side all of them would have to remember their past, at every layer, which takes more memory than
    the frames.
    """
    grid = plan.decoder_grid

    def one_pass(x: Tensor) -> Tensor:
        return join_slices(vae.decode_parts(x, plan.decoder_slice_latents))

    def one_batch(x: Tensor) -> Tensor:
        if not tiled:
            return one_pass(x)
        picture = grid.join([[one_pass(tile) for tile in row] for row in grid.cut(x)])
        return mix_corner(picture, one_pass(grid.last(x))) if plan.tile_corner else picture

    yield _batches(one_batch, latents_BKTHW, plan.batch_size)


def _first_frames(slices: Iterator[Tensor], num_frames: int | None) -> Iterator[Tensor]:
    """The frames that are kept; slices after them are not computed."""
    left = num_frames
    for part in slices:
        yield part[:, :, :left]
        if left is not None and (left := left - part.shape[2]) <= 0:
            return


def check_num_frames(
    vae: SlicedAutoencoder, latents_BKTHW: Tensor, plan: ExecutionPlan, num_frames: int | None
) -> None:
    """Refuse a length that decoding cannot give."""
    if num_frames is None:
        return
    count = latents_BKTHW.shape[2]
    slices = vae.geometry.cut(slice_frames=1, slice_latents=plan.decoder_slice_latents or count)
    if not 1 <= num_frames <= (longest := slices.pixel_frames(count)):
        raise ValueError(f"num_frames must be from 1 to {longest}, got {num_frames}")


def _batches(run: Callable[[Tensor], Tensor], x: Tensor, batch_size: int | None) -> Tensor:
    if batch_size is None or x.shape[0] <= batch_size:
        return run(x)
    return torch.cat([run(part) for part in x.split(batch_size)])
