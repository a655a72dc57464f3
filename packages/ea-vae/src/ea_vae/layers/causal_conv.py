"""Convolution over time and space that does not look into the future, unless it is told to.

Shape letters: B batch, C channels, T frames, H height, W width.
"""

import torch
from torch import Tensor, nn

from ea_kernels.ops import conv2d, conv3d
from ea_vae.layers.norm import ClipGroupNorm
from ea_vae.layers.repeated import conv_of_doubled_space, conv_of_doubled_time, interleave_frames
from ea_vae.layers.streaming import TemporalPass, after_first_frame

TAPS = 3


class CausalConv3d(nn.Conv3d):
    """A 3x3x3 convolution, causal in time.

    Before the first frame of a clip the first frame is repeated twice. A slice of a clip sees the frames that
    its pass puts around it.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        stride: Strides over (T, H, W).
        pad_end: Add one zero row and column at the bottom and on the right only, not on each side.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: tuple[int, int, int] = (1, 1, 1),
        pad_end: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, TAPS, stride=stride)
        self.space_padding = (0, 0) if pad_end else (1, 1)
        self.edge = int(pad_end)

    def forward(
        self, x_BCTHW: Tensor, stream: TemporalPass | None = None, *, norm: ClipGroupNorm | None = None
    ) -> Tensor:
        """Convolve a whole clip (`stream` None) or a slice of one, or the SiLU of a norm of it."""
        extended = self._with_neighbours(x_BCTHW, stream, norm)
        if _is_picture(x_BCTHW, stream):
            return self._picture(extended[:, :, :1])
        return conv3d(extended, self.weight, self.bias, stride=self.stride, padding=(0, *self.space_padding))

    def of_doubled_space(self, x_BCTHW: Tensor, stream: TemporalPass | None = None) -> Tensor:
        """Convolve what comes of repeating every pixel to 2 x 2: [B, C, T, H, W] -> [B, O, T, 2H, 2W]."""
        extended = self._with_neighbours(x_BCTHW, stream)
        if _is_picture(x_BCTHW, stream):
            flat = conv_of_doubled_space(x_BCTHW.squeeze(2), self._picture_weight(), self.bias)
            return flat.unsqueeze(2)
        return conv_of_doubled_space(extended, self.weight, self.bias)

    def of_doubled_time(
        self, x_BCTHW: Tensor, stream: TemporalPass | None = None, *, norm: ClipGroupNorm | None = None
    ) -> Tensor:
        """Convolve what comes of repeating every frame, see `double_frames`, or the SiLU of a norm of that.

        The norm is one of each frame, so that it need not see frames twice.

        Returns:
            [B, O, 2T, H, W], or 2T - 1 frames if the first one stays single.
        """
        if stream is not None and not stream.causal:
            return self(double_frames(x_BCTHW, stream), stream, norm=norm)
        if stream is None:
            x_BCTHW = after_first_frame(x_BCTHW, 1, norm)
        else:
            x_BCTHW = stream.extend(x_BCTHW, taps=2, stride=1, norm=norm)
        if stream is not None and not stream.keeps_first:
            return conv_of_doubled_time(x_BCTHW, self.weight, self.bias)
        first = self._picture(x_BCTHW[:, :, :1])
        if x_BCTHW.shape[2] == 2:
            return first
        rest = conv_of_doubled_time(x_BCTHW[:, :, 1:], self.weight, self.bias)
        return torch.cat((first, rest), dim=2)

    def _with_neighbours(
        self, x_BCTHW: Tensor, stream: TemporalPass | None, norm: ClipGroupNorm | None = None
    ) -> Tensor:
        if stream is None:
            return after_first_frame(x_BCTHW, TAPS - 1, norm, edge=self.edge)
        return stream.extend(x_BCTHW, taps=TAPS, stride=self.stride[0], norm=norm, edge=self.edge)

    def _picture(self, x_BC1HW: Tensor) -> Tensor:
        """A picture meets every tap, so one 2-D convolution does the work of three."""
        stride, padding = self.stride[1:], self.space_padding
        flat = conv2d(x_BC1HW.squeeze(2), self._picture_weight(), self.bias, stride=stride, padding=padding)
        return flat.unsqueeze(2)

    def _picture_weight(self) -> Tensor:
        return self.weight.sum(dim=2)


def _is_picture(x_BCTHW: Tensor, stream: TemporalPass | None) -> bool:
    """Whether a slice is a single frame with copies of itself as its past."""
    return x_BCTHW.shape[2] == 1 and (stream is None or stream.at_start)


def double_frames(x_BCTHW: Tensor, stream: TemporalPass | None) -> Tensor:
    """Repeat every frame; the first of a clip stays single, unless its pass wants otherwise."""
    if stream is not None and not stream.keeps_first:
        return interleave_frames(x_BCTHW, x_BCTHW)
    first, rest = x_BCTHW[:, :, :1], x_BCTHW[:, :, 1:]
    return torch.cat((first, interleave_frames(rest, rest)), dim=2) if rest.shape[2] else first
