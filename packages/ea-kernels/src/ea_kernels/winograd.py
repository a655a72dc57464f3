"""Convolutions of float32 clips with their channels last, by Winograd's minimal filtering, on a CPU.

Four neighbouring outputs of a filter of three taps are a sum of six products instead of twelve: six numbers
are mixed to six others, each meets one mixed tap, and the products are mixed to four outputs. Here the axis
is time, or the rows of a picture; what is mixed are whole frames or rows, and each product is a convolution
over the axes that remain. Evaluated at 0, +-3/4, +-3/2 and infinity the rounding error is that of oneDNN's
direct convolution: 0.7 to 1.4 times it for noise, less for clips whose frames resemble each other.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2015); the choice of points
follows Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution" (2018).

Shape letters: B batch, I and O input and output channels, T frames, H height, W width, P products.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

TIME, ROWS = 2, 3
"""Axes of a clip (B, C, T, H, W) along which three taps are shared out."""

OUTPUTS, TAPS = 4, 3
PRODUCTS = OUTPUTS + TAPS - 1

NEAR, FAR = 0.75, 1.5
"""The points +-NEAR and +-FAR. What follows counts on FAR being twice NEAR."""

LEAST_CHANNELS = {TIME: 64, ROWS: 128}
"""On either side; with fewer of them, mixing costs more than it saves."""

LEAST_PIXELS = 2048
"""Pixels of all frames of the result; with fewer of them, mixing the taps costs more than is saved."""

BAND = 1 << 19
"""Numbers of a frame that are worked on at a time: besides the result, 12 times that lies in memory."""

Convolve = Callable[[Tensor, Tensor, Tensor | None, tuple[int, ...]], Tensor]
"""A direct convolution of a clip, weight, bias and padding, of stride 1."""

Products = Callable[[Tensor, tuple[int, ...]], list[Tensor]]
"""The products of mixed parts (P, T, H, W, I), which are convolved with a padding: (T', H', W', O) each."""


def axis_to_share(x_BITHW: Tensor, weight_OITHW: Tensor, padding: Sequence[int]) -> int | None:
    """The axis along which a convolution of stride 1 is done sooner this way, or None."""
    if x_BITHW.is_contiguous() or not x_BITHW.is_contiguous(memory_format=torch.channels_last_3d):
        return None
    sizes = _result_sizes(x_BITHW, weight_OITHW, padding)
    if x_BITHW.shape[0] * math.prod(sizes) < LEAST_PIXELS:
        return None
    for axis, channels in LEAST_CHANNELS.items():
        fits = weight_OITHW.shape[axis] == TAPS and sizes[axis - 2] % OUTPUTS == 0
        if fits and min(weight_OITHW.shape[:2]) >= channels and (axis == ROWS or padding[0] == 0):
            return axis
    return None


def shared_convolution(
    x_BITHW: Tensor,
    weight_OITHW: Tensor,
    bias_O: Tensor | None,
    *,
    axis: int,
    padding: Sequence[int],
    convolve: Convolve,
) -> Tensor:
    """A convolution of stride 1 whose three taps along an axis are shared out.

    Args:
        x_BITHW: Channels last.
        weight_OITHW: Three taps along the axis, any number along the others.
        bias_O: Added.
        axis: `TIME` or `ROWS`; the result's size along it must be a multiple of 4.
        padding: With zeros over T, H, W; 0 over T if that is the axis.
        convolve: The direct convolution.

    Returns:
        [B, O, T', H', W'], channels last.
    """
    sizes = _result_sizes(x_BITHW, weight_OITHW, padding)
    out_BTHWO = x_BITHW.new_empty(len(x_BITHW), *sizes, weight_OITHW.shape[0])
    weights, biases = _mixed_taps(weight_OITHW, axis), _biases(bias_O)

    def products(mixed_PTHWI: Tensor, padding: tuple[int, ...]) -> list[Tensor]:
        clips = mixed_PTHWI.movedim(-1, 1).unsqueeze(1)
        found = [convolve(*part, padding) for part in zip(clips, weights, biases, strict=True)]
        return [product.squeeze(0).movedim(0, -1) for product in found]

    along = _along_time if axis == TIME else _along_rows
    for x_THWI, out_THWO in zip(x_BITHW.permute(0, 2, 3, 4, 1), out_BTHWO, strict=True):
        along(x_THWI, out_THWO, weight_OITHW.shape[3] - 1, padding, products)
    return out_BTHWO.permute(0, 4, 1, 2, 3)


def _along_time(
    x_THWI: Tensor, out_THWO: Tensor, around: int, padding: Sequence[int], products: Products
) -> None:
    """Four frames at a time, and of those a band of rows, which needs `around` rows more."""
    mixing = _mixing(x_THWI)
    _, height, width, inputs = x_THWI.shape
    frames_out, rows_out = out_THWO.shape[:2]
    band = min(rows_out, max(1, BAND // (width * inputs)))
    mixed = x_THWI.new_empty(PRODUCTS, band + around, width, inputs)
    for top in range(0, rows_out, band):
        rows = min(band, rows_out - top)
        # Those outside of the picture are zeros.
        above = top - padding[1]
        begin, end = max(above, 0), min(above + rows + around, height)
        mixed[:, : begin - above] = 0
        mixed[:, end - above :] = 0
        place = mixed[:, begin - above : end - above].view(PRODUCTS, -1)
        for start in range(0, frames_out, OUTPUTS):
            torch.mm(mixing, x_THWI[start : start + PRODUCTS, begin:end].flatten(1), out=place)
            parts = products(mixed[:, None, : rows + around], (0, 0, padding[2]))
            _unmix(parts, [frame[None, top : top + rows] for frame in out_THWO[start : start + OUTPUTS]])


def _along_rows(
    x_THWI: Tensor, out_THWO: Tensor, around: int, padding: Sequence[int], products: Products
) -> None:
    """Four rows at a time, as many fours as make a band."""
    mixing = _mixing(x_THWI)
    frames, height, width, inputs = x_THWI.shape
    rows_out = out_THWO.shape[1]
    band = OUTPUTS * max(1, BAND // (frames * width * inputs))
    mixed = x_THWI.new_empty(PRODUCTS, frames, min(band, rows_out) // OUTPUTS, width, inputs)
    for top in range(0, rows_out, band):
        rows = min(band, rows_out - top)
        begin, end = top - padding[1], top - padding[1] + rows + around
        needed = x_THWI[:, max(begin, 0) : end]
        if begin < 0 or end > height:
            needed = F.pad(needed, (0, 0, 0, 0, max(-begin, 0), max(end - height, 0)))
        parts = mixed[:, :, : rows // OUTPUTS]
        for frame in range(frames):
            for four in range(rows // OUTPUTS):
                first = four * OUTPUTS
                lines = needed[frame, first : first + PRODUCTS].flatten(1)
                torch.mm(mixing, lines, out=parts[:, frame, four].view(PRODUCTS, -1))
        found = products(parts, (padding[0], 0, padding[2]))
        _unmix(found, [out_THWO[:, top + k : top + rows : OUTPUTS] for k in range(OUTPUTS)])


def _result_sizes(x_BITHW: Tensor, weight_OITHW: Tensor, padding: Sequence[int]) -> list[int]:
    taps = weight_OITHW.shape[2:]
    return [size + 2 * pad - k + 1 for size, pad, k in zip(x_BITHW.shape[2:], padding, taps, strict=True)]


def _mixed_taps(weight: Tensor, axis: int) -> list[Tensor]:
    """The weights of the six products, with one tap along the axis, channels last."""
    rows = [_at(0.0, NEAR**2 * FAR**2)]
    # Those of the points +-NEAR and +-FAR are NEAR^2 times what they are in the literature.
    rows += [_at(p, 2 * (NEAR**2 - FAR**2)) for p in (NEAR, -NEAR)]
    rows += [_at(p, 2 * (FAR**2 - NEAR**2) * FAR**2 / NEAR**2) for p in (FAR, -FAR)]
    rows.append([0.0, 0.0, 1.0])
    mixed = torch.tensordot(_matrix(rows, weight), weight.movedim(axis, 0), dims=1).unsqueeze(axis + 1)
    return [part.contiguous(memory_format=torch.channels_last_3d) for part in mixed]


def _at(point: float, divisor: float) -> list[float]:
    return [point**k / divisor for k in range(TAPS)]


def _biases(bias_O: Tensor | None) -> list[Tensor | None]:
    """What the six products add, so that each of the four outputs comes to one bias."""
    if bias_O is None:
        return [None] * PRODUCTS
    shares = (1 - NEAR**-2, (1 + NEAR) / 2, (1 - NEAR) / 2, None, None, 1 - NEAR**2)
    return [None if share is None else bias_O * share for share in shares]


def _mixing(like: Tensor) -> Tensor:
    """(P, P): the six lines to the six that are convolved."""
    near2, far2 = NEAR**2, FAR**2
    both = near2 * far2
    rows = [[both, 0, -near2 - far2, 0, 1, 0]]
    rows += [[0, -p * far2, -far2, p, 1, 0] for p in (NEAR, -NEAR)]
    rows += [[0, -p * near2, -near2, p, 1, 0] for p in (FAR, -FAR)]
    rows.append([0, both, 0, -near2 - far2, 0, 1])
    return _matrix(rows, like)


def _matrix(rows: Sequence[Sequence[float]], like: Tensor) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).to(like)


def _unmix(products: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """Six products, which are written over, to four outputs."""
    first, near, minus_near, far, minus_far, last = products
    torch.add(near, minus_near, out=out[0])
    torch.add(far, minus_far, out=out[2])
    near.sub_(minus_near)
    far.sub_(minus_far)
    # out[0] = first + (n + f) / NEAR^2 and out[2] = n + 4 f, of n and f that out[0] and out[2] hold.
    torch.add(out[0], out[2], alpha=4, out=out[2])
    torch.add(first, out[0], alpha=0.75 / NEAR**2, out=out[0])
    out[0].add_(out[2], alpha=0.25 / NEAR**2)
    torch.add(near, far, alpha=2, out=out[1]).mul_(1 / NEAR)
    torch.add(last, near, alpha=NEAR, out=out[3]).add_(far, alpha=8 * NEAR)
