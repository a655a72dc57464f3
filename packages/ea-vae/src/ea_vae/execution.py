"""How a pass through an autoencoder is cut: samples, spatial tiles, temporal slices.

Cutting bounds memory. With per-frame norms temporal slices do not change the result (up to rounding); tiles
do, slightly, because a tile does not see its neighbours. The blending follows the released programs exactly.

Shape letters: B batch, C channels, T frames, H height, W width, of pixels or latents.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol, Self

import torch
from torch import Tensor

from ea_vae.geometry import LatentGeometry
from ea_vae.layers.streaming import TemporalCache

SlicePass = Callable[[Tensor, TemporalCache | None], tuple[Tensor, TemporalCache | None]]


class SlicedAutoencoder(Protocol):
    """What a family offers to be executed."""

    @property
    def geometry(self) -> LatentGeometry:
        """Compression in time and space."""
        ...

    def encode_slice(
        self, video_BCTHW: Tensor, cache: TemporalCache | None
    ) -> tuple[Tensor, TemporalCache | None]:
        """Moments of the next slice; cache None means the slice is a whole clip."""
        ...

    def decode_slice(
        self, latents_BKTHW: Tensor, cache: TemporalCache | None
    ) -> tuple[Tensor, TemporalCache | None]:
        """Pixels of the next slice; cache None means the slice is all there is."""
        ...


@dataclass(frozen=True, kw_only=True)
class ExecutionPlan:
    """How passes are cut; the default does not cut at all.

    Attributes:
        encoder_slice_frames: Frames per slice after the first frame, which goes alone; None does not cut.
        decoder_slice_latents: The same for latent frames when decoding.
        tile_encoder: Encode spatial tiles when a side exceeds `tile_pixels`.
        tile_decoder: Decode spatial tiles when a latent side exceeds `tile_latents`.
        tile_pixels: Side of a tile in pixels.
        tile_latents: Side of a tile in latent pixels.
        tile_overlap: Overlap of neighbouring tiles as a fraction of the side, from 0 to below 1.
        batch_size: Samples per pass; None for all at once.
    """

    encoder_slice_frames: int | None = None
    decoder_slice_latents: int | None = None
    tile_encoder: bool = False
    tile_decoder: bool = False
    tile_pixels: int = 384
    tile_latents: int = 48
    tile_overlap: float = 0.25
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("encoder_slice_frames", "decoder_slice_latents", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1 or None, got {value}")
        if not 0.0 <= self.tile_overlap < 1.0:
            raise ValueError(f"tile_overlap must be in [0, 1), got {self.tile_overlap}")
        if self.tile_encoder or self.tile_decoder:
            for name in ("tile_pixels", "tile_latents"):
                # A step of zero would never reach the end.
                if int(getattr(self, name) * (1 - self.tile_overlap)) < 1:
                    raise ValueError(f"{name} is too small for tile_overlap, got {getattr(self, name)}")

    def edited(
        self,
        *,
        whole_clip: bool | None = None,
        tiling: bool | None = None,
        batch_size: int | None = None,
    ) -> Self:
        """A copy with the usual switches changed; None leaves one as it is.

        Args:
            whole_clip: True removes the temporal slices. (False cannot invent slice sizes and is refused.)
            tiling: Spatial tiles in both directions on or off.
            batch_size: Samples per pass.
        """
        plan = self
        if whole_clip is False and self.encoder_slice_frames is None:
            raise ValueError(
                "whole_clip=False needs a plan with slice sizes; set encoder_slice_frames instead"
            )
        if whole_clip:
            plan = replace(plan, encoder_slice_frames=None, decoder_slice_latents=None)
        if tiling is not None:
            plan = replace(plan, tile_encoder=tiling, tile_decoder=tiling)
        return plan if batch_size is None else replace(plan, batch_size=batch_size)


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """Tiles of one direction.

    Attributes:
        extent: Side of an input tile.
        step: Distance of input tile origins.
        blend: Rows and columns over which output tiles are mixed.
        keep: Rows and columns of each output tile that go into the result.
    """

    extent: int
    step: int
    blend: int
    keep: int

    @classmethod
    def between(cls, source: int, target: int, overlap: float) -> Self:
        """The grid for input tiles of side `source` and output tiles of side `target`."""
        blend = int(target * overlap)
        return cls(extent=source, step=int(source * (1 - overlap)), blend=blend, keep=target - blend)

    def needed(self, x: Tensor) -> bool:
        """Whether the input is larger than one tile."""
        return max(x.shape[-2:]) > self.extent

    def check_edges(self, x: Tensor, *, smallest: int) -> None:
        """Refuse a grid whose last tiles would be too small to be encoded."""
        for side in x.shape[-2:]:
            if (rest := (side - 1) % self.step + 1) < smallest:
                raise ValueError(
                    f"a tile step of {self.step} pixels leaves a tile of {rest} pixels of {side}"
                )

    def cut(self, x: Tensor) -> Iterator[list[Tensor]]:
        """Rows of input tiles; those at the right and the bottom may be smaller."""
        height, width = x.shape[-2:]
        for top in range(0, height, self.step):
            strip = x[..., top : top + self.extent, :]
            yield [strip[..., left : left + self.extent] for left in range(0, width, self.step)]

    def join(self, rows: Sequence[Sequence[Tensor]]) -> Tensor:
        """Mix every output tile with the one above, then with the one on its left, and put them together."""
        above: list[Tensor] = []
        strips: list[Tensor] = []
        for row in rows:
            blended: list[Tensor] = []
            for column, new_tile in enumerate(row):
                tile = new_tile
                if above:
                    tile = blend(above[column], tile, dim=-2, extent=self.blend)
                if column:
                    tile = blend(blended[-1], tile, dim=-1, extent=self.blend)
                blended.append(tile)
            strips.append(torch.cat([tile[..., : self.keep, : self.keep] for tile in blended], dim=-1))
            above = blended
        return torch.cat(strips, dim=-2)


def blend(before: Tensor, after: Tensor, *, dim: int, extent: int) -> Tensor:
    """Fade the end of one tile into the beginning of the next.

    Args:
        before: The tile above or on the left.
        after: The tile that is changed.
        dim: -2 for rows, -1 for columns.
        extent: How many of them, at most what both have.

    Returns:
        `after` with its first `extent` rows or columns mixed.
    """
    extent = min(extent, before.shape[dim], after.shape[dim])
    if extent == 0:
        return after
    shape = (extent, 1) if dim == -2 else (extent,)
    weight = (
        (torch.arange(extent, device=after.device, dtype=torch.float32) / extent).view(shape).to(after.dtype)
    )
    tail = before.narrow(dim, before.shape[dim] - extent, extent)
    head, rest = after.split((extent, after.shape[dim] - extent), dim=dim)
    return torch.cat((tail * (1 - weight) + head * weight, rest), dim=dim)


def mix_corner(picture: Tensor, corner: Tensor) -> Tensor:
    """Fade a tile into the lower right corner of a picture, from nothing at its left and top edges."""
    height, width = corner.shape[-2:]
    rows = torch.linspace(0, 1, height, device=corner.device)
    columns = torch.linspace(0, 1, width, device=corner.device)
    weight = torch.minimum(rows[:, None], columns[None, :]).to(corner.dtype)
    mixed = picture.clone()
    mixed[..., -height:, -width:] = picture[..., -height:, -width:] * (1 - weight) + corner * weight
    return mixed


def run_encode(vae: SlicedAutoencoder, video_BCTHW: Tensor, plan: ExecutionPlan) -> Tensor:
    """Moments of clips of any length, see `MagvitVae.encode`."""
    if video_BCTHW.ndim != 5 or 0 in video_BCTHW.shape:
        raise ValueError(f"video must have the shape [B, C, T, H, W], got {list(video_BCTHW.shape)}")
    vae.geometry.latent_size(*video_BCTHW.shape[-2:])
    if plan.encoder_slice_frames is not None and plan.encoder_slice_frames % vae.geometry.time:
        raise ValueError(
            f"encoder_slice_frames must be a multiple of {vae.geometry.time}, got {plan.encoder_slice_frames}"
        )
    video_BCTHW = vae.geometry.pad_frames(video_BCTHW)
    grid = TileGrid.between(plan.tile_pixels, plan.tile_latents, plan.tile_overlap)

    def one_pass(x: Tensor) -> Tensor:
        return _slices(vae.encode_slice, x, plan.encoder_slice_frames)

    def one_batch(x: Tensor) -> Tensor:
        if not (plan.tile_encoder and grid.needed(x)):
            return one_pass(x)
        grid.check_edges(x, smallest=vae.geometry.space)
        return grid.join([[one_pass(tile) for tile in row] for row in grid.cut(x)])

    return _batches(one_batch, video_BCTHW, plan.batch_size)


def run_decode(
    vae: SlicedAutoencoder, latents_BKTHW: Tensor, plan: ExecutionPlan, *, num_frames: int | None = None
) -> Tensor:
    """Pixels of latents, see `MagvitVae.decode`."""
    if latents_BKTHW.ndim != 5 or 0 in latents_BKTHW.shape:
        raise ValueError(f"latents must have the shape [B, K, t, h, w], got {list(latents_BKTHW.shape)}")
    longest = vae.geometry.pixel_frames(latents_BKTHW.shape[2])
    if num_frames is not None and not 1 <= num_frames <= longest:
        raise ValueError(f"num_frames must be from 1 to {longest}, got {num_frames}")
    grid = TileGrid.between(plan.tile_latents, plan.tile_pixels, plan.tile_overlap)

    def one_pass(x: Tensor) -> Tensor:
        return _slices(vae.decode_slice, x, plan.decoder_slice_latents)

    def one_batch(x: Tensor) -> Tensor:
        if not (plan.tile_decoder and grid.needed(x)):
            return one_pass(x)
        picture = grid.join([[one_pass(tile) for tile in row] for row in grid.cut(x)])
        # Partial tiles at the lower right are poor; the released programs decode that corner once more.
        return mix_corner(picture, one_pass(x[..., -grid.extent :, -grid.extent :]))

    return _batches(one_batch, latents_BKTHW, plan.batch_size)[:, :, :num_frames]


def _slices(run: SlicePass, x_BCTHW: Tensor, slice_length: int | None) -> Tensor:
    if slice_length is None:
        return run(x_BCTHW, None)[0]
    cache: TemporalCache | None = TemporalCache()
    outputs: list[Tensor] = []
    num_frames = x_BCTHW.shape[2]
    edges = (0, *range(1, num_frames, slice_length), num_frames)
    for start, end in pairwise(edges):
        output, cache = run(x_BCTHW[:, :, start:end], cache)
        outputs.append(output)
    return torch.cat(outputs, dim=2)


def _batches(run: Callable[[Tensor], Tensor], x: Tensor, batch_size: int | None) -> Tensor:
    if batch_size is None or x.shape[0] <= batch_size:
        return run(x)
    return torch.cat([run(part) for part in x.split(batch_size)])
