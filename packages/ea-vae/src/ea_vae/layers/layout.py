"""How clips lie in memory: the one place that decides it.

Networks take a slice of a clip in the format in which its convolutions are fastest. Every layer after that
keeps the format of what it is given, which is all that the layers know about it.

Shape letters: B batch, C channels, T frames, H height, W width.
"""

import torch
from torch import Tensor

from ea_kernels.channels_last import is_channels_last
from ea_kernels.convolution import prefers_channels_last
from ea_kernels.ops import writes_in_place


def in_fast_format(x_BCTHW: Tensor) -> Tensor:
    """A slice of a clip in the format that is fastest where it is, if no gradient is wanted.

    Training and compiled networks keep what they are given.
    """
    if not (writes_in_place(x_BCTHW) and prefers_channels_last(x_BCTHW)):
        return x_BCTHW
    return x_BCTHW.contiguous(memory_format=torch.channels_last_3d)


def empty_clip(*shape: int, like: Tensor) -> Tensor:
    """New memory for a clip or picture: format, number type and device are those of another, or of a part."""
    memory_format = torch.contiguous_format
    if is_channels_last(like):
        memory_format = torch.channels_last_3d if len(shape) == 5 else torch.channels_last
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=memory_format)
