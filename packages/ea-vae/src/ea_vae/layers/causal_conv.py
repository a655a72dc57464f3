"""Convolution over time and space that does not look into the future, unless it is told to.

Shape letters: B batch, C channels, T frames, H height, W width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ea_vae.layers.streaming import TemporalPass, first_frame_copies

TAPS = 3


class CausalConv3d(nn.Conv3d):
    """A 3x3x3 convolution, causal in time.

    Before the first frame of a clip the first frame is repeated twice. A slice of a clip sees the frames that
    its pass puts around it.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        stride: Strides over (T, H, W).
        pad_space: Pad H and W by one zero pixel on each side.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: tuple[int, int, int] = (1, 1, 1),
        pad_space: bool = True,
    ) -> None:
        padding = (0, 1, 1) if pad_space else (0, 0, 0)
        super().__init__(in_channels, out_channels, TAPS, stride=stride, padding=padding)

    def forward(self, x_BCTHW: Tensor, stream: TemporalPass | None = None) -> Tensor:
        """Convolve a whole clip (`stream` None) or a slice of one."""
        if stream is None and x_BCTHW.shape[2] == 1:
            return self._image(x_BCTHW)
        if stream is None:
            x_BCTHW = torch.cat((first_frame_copies(x_BCTHW, TAPS - 1), x_BCTHW), dim=2)
        else:
            x_BCTHW = stream.extend(x_BCTHW, taps=TAPS, stride=self.stride[0])
        return super().forward(x_BCTHW)

    def _image(self, x_BC1HW: Tensor) -> Tensor:
        """An image meets every tap, so one 2-D convolution with their sum does the work of three."""
        y_BCHW = F.conv2d(
            x_BC1HW.squeeze(2),
            self.weight.sum(dim=2),
            self.bias,
            self.stride[1:],
            self.padding[1:],
        )
        return y_BCHW.unsqueeze(2)
