"""The discriminators that released video autoencoders were trained against: one of frames, one of clips.

Source: Isola et al. 2017 (arXiv 1611.07004) for the patches, Yu et al. 2023 (arXiv 2212.05199) for clips.
Shape letters: B batch, N pictures, C channels, T frames, H height, W width.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

SMALLEST_SIDE = 24
"""Pixels that the discriminator of frames needs."""

_SLOPE = 0.2
_SPREAD = 0.02


class FrameDiscriminator(nn.Module):
    """Judges overlapping patches of single frames: strided 4x4 convolutions with batch norm.

    Args:
        width: Channels after the first convolution.
        num_layers: Halvings of the resolution.
    """

    def __init__(self, width: int = 64, num_layers: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
        before = width
        for index in range(1, num_layers + 1):
            after = width * min(2**index, 8)
            stride = 2 if index < num_layers else 1
            layers += [
                nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(_SLOPE),
            ]
            before = after
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 4, padding=1))
        _start(self)

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        """Logits of the patches of every frame, (B T, 1, h, w); positive means real."""
        return self.layers(rearrange(video_BCTHW, "b c t h w -> (b t) c h w"))


class ClipDiscriminator(nn.Module):
    """Judges patches of clips in space and time: three residual stages with blurred halvings.

    Args:
        width: Channels of the first stage; doubles at each.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.conv_in = nn.Conv3d(3, width, 3, stride=2, padding=1)
        widths = (width, width, 2 * width, 4 * width)
        self.stages = nn.ModuleList(
            _Stage(widths[index], widths[index + 1], halves=index < 2) for index in range(3)
        )
        self.conv_out = nn.Conv3d(widths[-1], 1, 3, padding=1)
        _start(self)

    def forward(self, video_BCTHW: Tensor) -> Tensor:
        """Logits of the patches of every clip, (B, 1, t, h, w); positive means real."""
        x_BCTHW = self.conv_in(video_BCTHW)
        for stage in self.stages:
            x_BCTHW = stage(x_BCTHW)
        return self.conv_out(x_BCTHW)


class _Stage(nn.Module):
    """Two convolutions behind norms, and the input beside them."""

    def __init__(self, channels_in: int, channels_out: int, *, halves: bool) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(min(32, channels_in), channels_in)
        self.conv1 = nn.Conv3d(channels_in, channels_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(min(32, channels_out), channels_out)
        self.conv2 = nn.Conv3d(channels_out, channels_out, 3, padding=1)
        self.shortcut = nn.Conv3d(channels_in, channels_out, 1, bias=False)
        self.halves = halves

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        beside = self.shortcut(_blurred_half(x_BCTHW) if self.halves else x_BCTHW)
        x_BCTHW = self.conv1(F.leaky_relu(self.norm1(x_BCTHW), _SLOPE))
        if self.halves:
            x_BCTHW = _blurred_half(x_BCTHW)
        x_BCTHW = self.conv2(F.leaky_relu(self.norm2(x_BCTHW), _SLOPE))
        return (x_BCTHW + beside) / 2**0.5


def _blurred_half(x_BCTHW: Tensor) -> Tensor:
    """Half of the frames, rows and columns, after a blur with 1 2 1 along each axis."""
    channels = x_BCTHW.shape[1]
    taps = x_BCTHW.new_tensor((0.25, 0.5, 0.25))
    kernel = torch.einsum("t,h,w->thw", taps, taps, taps).expand(channels, 1, 3, 3, 3)
    return F.conv3d(x_BCTHW, kernel, stride=2, padding=1, groups=channels)


def _start(network: nn.Module) -> None:
    """As released: convolutions from N(0, 0.02), batch norms from N(1, 0.02)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            nn.init.normal_(layer.weight, 0.0, _SPREAD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, _SPREAD)
            nn.init.zeros_(layer.bias)
