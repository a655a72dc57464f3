"""Frames of the past, a slice of a clip, and the frames to keep for the next slice, in one pass.

Shapes: B samples, C channels, P + T frames of N numbers that are dense in memory. Of channels-last clips N is
H x W x C and there is one channel; of others it is H x W. Nothing is computed: results are equal to the bit.
"""

# Kernel arguments have no Python type, and pyright does not know what triton.jit makes of a function.
# pyright: reportMissingParameterType=false, reportIndexIssue=false, reportCallIssue=false
# pyright: reportArgumentType=false
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 2048


@triton.jit
def _join_kernel(
    past,
    x,
    joined,
    tail,
    channels,
    before,
    frames,
    keep,
    numbers,
    p_b,
    p_c,
    p_t,
    x_b,
    x_c,
    x_t,
    j_b,
    j_c,
    j_t,
    t_b,
    t_c,
    t_t,
    BLOCK: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    t, plane = program % frames, program // frames
    b, c = plane // channels, plane % channels
    at = tl.program_id(1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < numbers
    if t < before:
        value = tl.load(past + b * p_b + c * p_c + t * p_t + at, mask=inside)
    else:
        value = tl.load(x + b * x_b + c * x_c + (t - before) * x_t + at, mask=inside)
    tl.store(joined + b * j_b + c * j_c + t * j_t + at, value, mask=inside)
    if t >= frames - keep:
        target = tail + b * t_b + c * t_c + (t - frames + keep) * t_t + at
        tl.store(target, value, mask=inside)


def _dense(x: Tensor, *, last: bool) -> Tensor:
    """x itself if the numbers of its frames (of one channel, or of all, if these come last) are dense."""
    _, channels, _, height, width = x.shape
    inner = (1, width * channels, channels) if last else (x.stride(1), width, 1)
    sizes = (channels, height, width)
    strides = (x.stride(1), x.stride(3), x.stride(4))
    if all(size == 1 or own == wanted for size, own, wanted in zip(sizes, strides, inner, strict=True)):
        return x
    return x.contiguous(memory_format=torch.channels_last_3d if last else torch.contiguous_format)


def _strides(x: Tensor, *, last: bool) -> tuple[int, int, int]:
    return x.stride(0), 0 if last else x.stride(1), x.stride(2)


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx, past, x, keep, last):
        batch, channels, slice_frames, height, width = x.shape
        past, x = (_dense(clip, last=last) for clip in (past, x))
        before = past.shape[2]
        frames = before + slice_frames
        memory = torch.channels_last_3d if last else torch.contiguous_format
        joined, tail = (
            torch.empty(
                (batch, channels, count, height, width), dtype=x.dtype, device=x.device, memory_format=memory
            )
            for count in (frames, keep)
        )
        planes, numbers = (1, height * width * channels) if last else (channels, height * width)
        _join_kernel[(batch * planes * frames, triton.cdiv(numbers, BLOCK))](
            past, x, joined, tail, planes, before, frames, keep, numbers, *_strides(past, last=last),
            *_strides(x, last=last), *_strides(joined, last=last), *_strides(tail, last=last), BLOCK=BLOCK,
        )  # fmt: skip
        ctx.before, ctx.keep = before, keep
        return joined, tail

    @staticmethod
    @once_differentiable
    def backward(ctx, d_joined, d_tail):
        d = d_joined.clone()
        d[:, :, d.shape[2] - ctx.keep :] += d_tail
        return d[:, :, : ctx.before], d[:, :, ctx.before :], None, None


def join_frames(past_BCPHW: Tensor, x_BCTHW: Tensor, keep: int, *, last: bool) -> tuple[Tensor, Tensor]:
    """[past | x], and a copy of its last `keep` frames, both with channels last or not."""
    return _Join.apply(past_BCPHW, x_BCTHW, keep, last)
