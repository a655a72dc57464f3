"""Frames around a slice of a clip, for causal convolutions. Public in `ea_kernels.ops`.

Shape letters: B batch, C channels, P past frames, T frames, H height, W width.
"""

from torch import Tensor

from ea_kernels.channels_last import is_channels_last
from ea_kernels.norms import writes_in_place
from ea_kernels.reference import frames as reference
from ea_kernels.triton_ops.availability import resolve_backend


def join_frames(
    past_BCPHW: Tensor, x_BCTHW: Tensor, *, keep: int, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """The frames of the past and a slice behind them, and what the next slice will need of them.

    Args:
        past_BCPHW: Frames before the slice; may be one frame, expanded.
        x_BCTHW: The slice.
        keep: How many frames at the end the next slice needs, 0 to P + T.
        backend: See `ea_kernels.ops`; all give the same bits.

    Returns:
        [B, C, P + T, H, W], and a copy of its last `keep` frames, which holds on to no other memory.

    Raises:
        ValueError: If frames differ in shape or number type, or `keep` is out of range.
    """
    shapes = (tuple(past_BCPHW.shape), tuple(x_BCTHW.shape))
    same = all(len(shape) == 5 for shape in shapes) and shapes[0][:2] + shapes[0][3:] == (
        shapes[1][:2] + shapes[1][3:]
    )
    if not same or past_BCPHW.dtype != x_BCTHW.dtype:
        raise ValueError(
            f"past_BCPHW must be like x_BCTHW but for frames, got {shapes[0]} {past_BCPHW.dtype} and "
            f"{shapes[1]} {x_BCTHW.dtype}"
        )
    if not 0 <= keep <= shapes[0][2] + shapes[1][2]:
        raise ValueError(f"keep must be 0 to {shapes[0][2] + shapes[1][2]}, got {keep}")
    if resolve_backend(backend, x_BCTHW, "join_frames") == "triton":
        from ea_kernels.triton_ops import frames as kernels

        return kernels.join_frames(past_BCPHW, x_BCTHW, keep, last=is_channels_last(x_BCTHW))
    return reference.join_frames(past_BCPHW, x_BCTHW, keep)


def joins_in_one_pass(x_BCTHW: Tensor) -> bool:
    """Whether `join_frames` would be a kernel: otherwise what makes a slice writes to its place itself."""
    return writes_in_place(x_BCTHW) and resolve_backend("auto", x_BCTHW, "join_frames") == "triton"
