"""Spatial tiles: where they lie and how they are put together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class TileAxis:
    """Tiles along one side of a picture.

    Attributes:
        extent: Side of an input tile.
        step: Distance of input tile origins.
        blend: Rows or columns over which output tiles are mixed.
        keep: Rows or columns of each output tile that go into the result.
    """

    extent: int
    step: int
    blend: int
    keep: int

    @classmethod
    def between(cls, source: int, target: int, overlap: float) -> Self:
        """The axis for input tiles of side `source` and output tiles of side `target`."""
        blend = int(target * overlap)
        return cls(extent=source, step=int(source * (1 - overlap)), blend=blend, keep=target - blend)

    def check_edge(self, side: int, *, smallest: int) -> None:
        """Refuse an axis whose last tile would be too small to be encoded."""
        if (rest := (side - 1) % self.step + 1) < smallest:
            raise ValueError(f"a tile step of {self.step} pixels leaves a tile of {rest} pixels of {side}")


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """Tiles of one direction.

    Attributes:
        rows: Along the height.
        columns: Along the width.
    """

    rows: TileAxis
    columns: TileAxis

    def needed(self, x: Tensor) -> bool:
        """Whether the input is larger than one tile."""
        height, width = x.shape[-2:]
        return height > self.rows.extent or width > self.columns.extent

    def check_edges(self, x: Tensor, *, smallest: int) -> None:
        """Refuse a grid whose last tiles would be too small to be encoded."""
        height, width = x.shape[-2:]
        self.rows.check_edge(height, smallest=smallest)
        self.columns.check_edge(width, smallest=smallest)

    def cut(self, x: Tensor) -> Iterator[list[Tensor]]:
        """Rows of input tiles; those at the right and the bottom may be smaller."""
        height, width = x.shape[-2:]
        rows, columns = self.rows, self.columns
        for top in range(0, height, rows.step):
            strip = x[..., top : top + rows.extent, :]
            yield [strip[..., left : left + columns.extent] for left in range(0, width, columns.step)]

    def last(self, x: Tensor) -> Tensor:
        """The input tile that ends at the lower right corner."""
        return x[..., -self.rows.extent :, -self.columns.extent :]

    def join(self, rows: Sequence[Sequence[Tensor]]) -> Tensor:
        """Mix every output tile with the one above, then with the one on its left, and put them together."""
        above: list[Tensor] = []
        strips: list[Tensor] = []
        for row in rows:
            blended: list[Tensor] = []
            for column, new_tile in enumerate(row):
                tile = new_tile
                if above:
                    tile = blend(above[column], tile, dim=-2, extent=self.rows.blend)
                if column:
                    tile = blend(blended[-1], tile, dim=-1, extent=self.columns.blend)
                blended.append(tile)
            kept = [tile[..., : self.rows.keep, : self.columns.keep] for tile in blended]
            strips.append(torch.cat(kept, dim=-1))
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
