"""Group norm of float32 clips whose channels come last, on a CPU.

torch's own kernel for that memory format takes the variance as E[x^2] - E[x]^2, which cancels: where the mean
is a hundred times the standard deviation, its result is off by 2e-3 of the largest value. The statistics here
are means and squared distances from them, of pieces that stay in the cache, merged in float64.

Shape letters: B samples, C channels, G groups, N sets of P pixels that share statistics (the frames of a
sample or the whole sample), Q pieces of a set.
"""

import torch
from torch import Tensor

PIECE = 512
"""Pixels of a piece: more of them lose digits in the plain sum of the kernel, fewer take longer to call."""

SMALL = 1 << 16
"""Numbers in a clip that is normed sooner as a contiguous copy."""


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of a clip or picture (B, C, ...) lie beside each other, also in a part of one."""
    return x.ndim > 2 and x.stride(1) == 1 and x.shape[1] > 1 and not x.is_contiguous()


def rounds_coarsely(x: Tensor) -> bool:
    """Whether torch's group norm of x would use the kernel whose variance cancels.

    A compiler replaces it, and lower precisions have lost those digits before.
    """
    on_cpu = x.device.type == "cpu" and x.dtype == torch.float32
    return on_cpu and is_channels_last(x) and not torch.compiler.is_compiling()


def prefers_group_norm_last(x: Tensor, out: Tensor | None = None) -> bool:
    """Whether `group_norm_last` is the best way to norm x, into `out` if that is given."""
    return (
        rounds_coarsely(x)
        and x.numel() >= SMALL
        and (out is None or (out.dtype == x.dtype and is_channels_last(out)))
    )


def group_norm_last(
    x: Tensor,
    groups: int,
    weight_C: Tensor | None,
    bias_C: Tensor | None,
    eps: float,
    *,
    per_frame: bool = False,
    silu: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """GroupNorm of (B, C, ...), then SiLU if asked, with no gradients.

    Args:
        x: Clips (B, C, T, H, W), or any (B, C, ...) without `per_frame`, channels last.
        groups: Channel groups.
        weight_C: Of each channel, or None.
        bias_C: Of each channel, or None.
        eps: Added to the variance.
        per_frame: Statistics of each frame on its own.
        silu: Whether x sigmoid(x) follows.
        out: Shaped as x, channels last; where the result is written.
    """
    rows_BNPC = _rows(x, per_frame=per_frame)
    mean_BNG, variance_BNG = _statistics(rows_BNPC, groups)
    width = x.shape[1] // groups
    rstd_BNG = torch.rsqrt(variance_BNG + eps)
    scale_BNC, mean_BNC = (s.repeat_interleave(width, dim=-1) for s in (rstd_BNG, mean_BNG))
    if weight_C is not None:
        scale_BNC = scale_BNC * weight_C
    shift_BNC = -mean_BNC * scale_BNC
    if bias_C is not None:
        shift_BNC = shift_BNC + bias_C
    out = torch.empty_like(x) if out is None else out
    target = _rows(out, per_frame=per_frame)
    scale, shift = (s.to(x.dtype).unsqueeze(2) for s in (scale_BNC, shift_BNC))
    torch.addcmul(shift, rows_BNPC, scale, out=target)
    if silu:
        torch.ops.aten.silu.out(target, out=target)
    return out


def _rows(x: Tensor, *, per_frame: bool) -> Tensor:
    """(B, C, ...) as (B, N, P, C), the same memory."""
    last = x.movedim(1, -1)
    sets = x.shape[2] if per_frame else 1
    return last.view(x.shape[0], sets, -1, x.shape[1])


def _statistics(rows_BNPC: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean and variance (B, N, G) in float64."""
    batch, sets, pixels, channels = rows_BNPC.shape
    found = [
        _moments(piece_PC)
        for sample_NPC in rows_BNPC
        for set_PC in sample_NPC
        for piece_PC in set_PC.split(PIECE)
    ]
    shape = (batch, sets, -1, groups, channels // groups)
    means, variances = (torch.stack(parts).double().view(shape) for parts in zip(*found, strict=True))
    pieces = means.shape[2]
    sizes = means.new_full((pieces, 1, 1), PIECE)
    sizes[-1] = pixels - PIECE * (pieces - 1)
    shares = sizes / (pixels * (channels // groups))
    mean = (means * shares).sum(dim=(2, 4), keepdim=True)
    variance = ((variances + (means - mean).square()) * shares).sum(dim=(2, 4))
    return mean.squeeze((2, 4)), variance


def _moments(piece_PC: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of every channel, by the statistics of a batch norm: two passes, vectorised.

    The kernel takes pixels for channels-last if they are a picture of more than one row.
    """
    height = 1 if len(piece_PC) % 2 else 2
    picture = piece_PC.view(1, height, -1, piece_PC.shape[1]).permute(0, 3, 1, 2)
    return torch.ops.aten.batch_norm_update_stats(picture, None, None, 0.0)
