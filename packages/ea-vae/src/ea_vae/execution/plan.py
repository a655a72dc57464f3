"""The choice of cuts."""

from dataclasses import dataclass, replace
from typing import Self, TypeVar

from ea_vae.execution.tiles import TileAxis, TileGrid

N = TypeVar("N", int, float)
Sides = int | tuple[int, int]
"""One number for both sides, or (height, width)."""


@dataclass(frozen=True, kw_only=True)
class ExecutionPlan:
    """How passes are cut; the default does not cut at all.

    Attributes:
        encoder_slice_frames: Frames per temporal slice; None does not cut. What happens to a frame that the
            network treats on its own, and to a rest, is the family's.
        decoder_slice_latents: The same for latent frames when decoding.
        tile_encoder: Encode spatial tiles when a side exceeds `tile_pixels`.
        tile_decoder: Decode spatial tiles when a latent side exceeds `tile_latents`.
        tile_pixels: Side of a tile in pixels, or height and width.
        tile_latents: The same in latent pixels.
        tile_overlap: Overlap of neighbouring tiles as a fraction of the side, from 0 to below 1; or those of
            height and width.
        tile_corner: Decode the lower right corner once more as a tile of its own, for partial tiles are poor.
        batch_size: Samples per pass; None for all at once.
    """

    encoder_slice_frames: int | None = None
    decoder_slice_latents: int | None = None
    tile_encoder: bool = False
    tile_decoder: bool = False
    tile_pixels: Sides = 384
    tile_latents: Sides = 48
    tile_overlap: float | tuple[float, float] = 0.25
    tile_corner: bool = True
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("encoder_slice_frames", "decoder_slice_latents", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1 or None, got {value}")
        if any(not 0.0 <= overlap < 1.0 for overlap in _pair(self.tile_overlap)):
            raise ValueError(f"tile_overlap must be in [0, 1), got {self.tile_overlap}")
        if self.tile_encoder or self.tile_decoder:
            for name in ("tile_pixels", "tile_latents"):
                sides = _pair(getattr(self, name))
                # A step of zero would never reach the end.
                steps = (int(side * (1 - f)) for side, f in zip(sides, _pair(self.tile_overlap), strict=True))
                if min(steps) < 1:
                    raise ValueError(f"{name} is too small for tile_overlap, got {getattr(self, name)}")

    @property
    def encoder_grid(self) -> TileGrid:
        """Tiles of pixels that become tiles of latents."""
        return self._grid(self.tile_pixels, self.tile_latents)

    @property
    def decoder_grid(self) -> TileGrid:
        """Tiles of latents that become tiles of pixels."""
        return self._grid(self.tile_latents, self.tile_pixels)

    def _grid(self, source: Sides, target: Sides) -> TileGrid:
        sides = zip(_pair(source), _pair(target), _pair(self.tile_overlap), strict=True)
        rows, columns = (TileAxis.between(*side) for side in sides)
        return TileGrid(rows=rows, columns=columns)

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


def _pair(value: N | tuple[N, N]) -> tuple[N, N]:
    return value if isinstance(value, tuple) else (value, value)
