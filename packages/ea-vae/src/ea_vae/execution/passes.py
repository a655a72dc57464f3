"""Running an autoencoder under a plan: batches outside, tiles in them, temporal slices innermost.

Shape letters: B batch, C channels, K latent channels, T frames, H height, W width.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from ea_vae.execution.plan import ExecutionPlan
from ea_vae.execution.tiles import mix_corner
from ea_vae.geometry import LatentGeometry


class SlicedAutoencoder(Protocol):
    """What is run."""

    @property
    def geometry(self) -> LatentGeometry:
        """Compression in time and space."""
        ...

    def encode_frames(self, video_BCTHW: Tensor, slice_frames: int | None) -> Tensor:
        """Moments [B, 2K, t, h, w] of a clip or a tile of it, in temporal slices."""
        ...

    def decode_frames(self, latents_BKTHW: Tensor, slice_latents: int | None) -> Tensor:
        """Pixels [B, C, T, H, W] of latents or a tile of them, in temporal slices."""
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
    if latents_BKTHW.ndim != 5 or 0 in latents_BKTHW.shape:
        raise ValueError(f"latents must have the shape [B, K, t, h, w], got {list(latents_BKTHW.shape)}")
    check_num_frames(vae, latents_BKTHW, plan, num_frames)
    grid = plan.decoder_grid

    def one_pass(x: Tensor) -> Tensor:
        return vae.decode_frames(x, plan.decoder_slice_latents)

    def one_batch(x: Tensor) -> Tensor:
        if not (plan.tile_decoder and grid.needed(x)):
            return one_pass(x)
        picture = grid.join([[one_pass(tile) for tile in row] for row in grid.cut(x)])
        return mix_corner(picture, one_pass(grid.last(x))) if plan.tile_corner else picture

    return _batches(one_batch, latents_BKTHW, plan.batch_size)[:, :, :num_frames]


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
