"""Finding the flat-coloured objects of a clip: what the background is, and what stands out from it.

The only assumption: the background reaches the border of the frame and stands still. It is modelled from
the border alone: an affine colour field where that explains the border (plain, gradient), otherwise the
segment between two colours (stripes, or a gradient that is not linear).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]

_MIN_DISTANCE: Final = 22.0
_RELATIVE_DISTANCE: Final = 0.3
_AFFINE_RESIDUAL: Final = 9.0
_UNEXPLAINED: Final = 0.2  # of the pixels of one side of the border


@dataclass(frozen=True, kw_only=True)
class Background:
    """A colour field (affine) or a colour segment, in RGB 0..255.

    Attributes:
        field: Colour of every pixel, shape (H, W, 3); None for a segment.
        ends: The two extreme colours, shape (2, 3).
    """

    field: Float | None
    ends: Float

    def at(self, frames: Float) -> Float:
        """Background colour of every pixel of (T, H, W, 3) frames; broadcasts against them."""
        if self.field is not None:
            return self.field[None]
        first, along = self.ends[0], self.ends[1] - self.ends[0]
        weight = ((frames - first) @ along) / max(float(along @ along), 1e-6)
        return first + np.clip(weight, 0, 1)[..., None] * along


def fit_background(frames: Float) -> Background:
    """Model the background of (T, H, W, 3) frames from their border."""
    _, height, width, _ = frames.shape
    ring = max(1, round(0.02 * min(height, width)))
    inside = np.ones((height, width), dtype=bool)
    inside[ring:-ring, ring:-ring] = False
    rows, columns = np.nonzero(inside)
    colours = np.median(frames[:, rows, columns], axis=0)
    design = np.stack([np.ones_like(rows), rows / height - 0.5, columns / width - 0.5], axis=1).astype(
        np.float32
    )
    weights = np.ones(len(rows), dtype=np.float32)
    residual = np.zeros_like(weights)
    solution = np.zeros((3, 3), dtype=np.float32)
    for _ in range(4):  # reweighting ignores the few places where a shape touches the border
        scaled = design * weights[:, None]
        solution = np.linalg.lstsq(scaled, colours * weights[:, None], rcond=None)[0].astype(np.float32)
        residual = np.linalg.norm(colours - design @ solution, axis=1)
        weights = 1 / np.sqrt(1 + (residual / 6.0) ** 2)
    if _is_affine(residual, rows, columns, height, width):
        y = (np.arange(height, dtype=np.float32) / height - 0.5)[:, None, None]
        x = (np.arange(width, dtype=np.float32) / width - 0.5)[None, :, None]
        field = np.clip(solution[0] + y * solution[1] + x * solution[2], 0, 255)
        corners = field[[0, 0, -1, -1], [0, -1, 0, -1]]
        pairs = [(0, 3), (1, 2), (0, 1), (0, 2)]
        far = max(pairs, key=lambda pair: float(np.linalg.norm(corners[pair[0]] - corners[pair[1]])))
        return Background(field=field, ends=corners[list(far)])
    return Background(field=None, ends=_two_colours(colours))


def _is_affine(residual: Float, rows: Index, columns: Index, height: int, width: int) -> bool:
    """Whether the fit explains the border, save for a shape that touches one of its sides."""
    unexplained = residual > _AFFINE_RESIDUAL
    sides = (
        rows < height // 8,
        rows >= height - height // 8,
        columns < width // 8,
        columns >= width - width // 8,
    )
    return sum(bool(unexplained[side].mean() > _UNEXPLAINED) for side in sides) < 2


def _two_colours(colours: Float) -> Float:
    """Ends of the colour segment of a border: two clusters along the main colour axis."""
    centred = colours - np.median(colours, axis=0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    along = centred @ axis
    low, high = np.quantile(along, 0.03), np.quantile(along, 0.97)
    for _ in range(5):
        nearer_high = along > (low + high) / 2
        if nearer_high.all() or not nearer_high.any():
            break
        low, high = np.median(along[~nearer_high]), np.median(along[nearer_high])
    middle = np.median(colours, axis=0)
    return np.stack([middle + low * axis, middle + high * axis]).astype(np.float32)


def foreground(frames: Float, behind: Float) -> Mask:
    """Pixels of (T, H, W, 3) frames that stand out from the background colours, shape (T, H, W)."""
    difference = frames - behind
    distance = np.sqrt(np.einsum("thwc,thwc->thw", difference, difference))
    typical = float(np.quantile(distance[:, ::2, ::2], 0.985))
    return distance > max(_MIN_DISTANCE, _RELATIVE_DISTANCE * typical)


def erode(mask: Mask) -> Mask:
    """Pixels whose four neighbours are set too (outside the frame counts as unset)."""
    result = np.zeros_like(mask)
    result[:, 1:-1, 1:-1] = (
        mask[:, 1:-1, 1:-1] & mask[:, :-2, 1:-1] & mask[:, 2:, 1:-1] & mask[:, 1:-1, :-2] & mask[:, 1:-1, 2:]
    )
    return result


def components(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Connected regions (8 neighbours) of one (H, W) mask.

    Returns:
        Labels 1..n (0 is unset) and n.
    """
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1)
    rows, starts = np.nonzero(change == 1)
    stops = np.nonzero(change == -1)[1]
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first_of_row = np.searchsorted(rows, np.arange(mask.shape[0] + 1)).tolist()
    start_list, stop_list, row_list = starts.tolist(), stops.tolist(), rows.tolist()
    for run, row in enumerate(row_list):
        if row == 0:
            continue
        for above in range(first_of_row[row - 1], first_of_row[row]):
            if start_list[above] <= stop_list[run] and start_list[run] <= stop_list[above]:
                parent[root(run)] = root(above)
    labels = np.zeros(mask.shape, dtype=np.int32)
    numbers: dict[int, int] = {}
    for run, row in enumerate(row_list):
        number = numbers.setdefault(root(run), len(numbers) + 1)
        labels[row, start_list[run] : stop_list[run]] = number
    return labels, len(numbers)
