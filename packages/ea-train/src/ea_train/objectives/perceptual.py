"""LPIPS with VGG-16: distance of pictures in the features of a network that knows what pictures show.

Source: Zhang et al. 2018 (arXiv 1801.03924); the network Simonyan and Zisserman 2014 (arXiv 1409.1556). The
weights are the caller's: nothing is fetched.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ea_kernels.runtime.weights import load_weights

LEAST_SIDE = 16
"""Pixels that five resolutions need."""

# Numbers of the convolutions in the released list of layers, by resolution.
_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_CONVOLUTION = re.compile(r"(?:features|net\.slice\d)\.(\d+)\.(weight|bias)")
_HEAD = re.compile(r"(?:lin|lins\.)(\d)\.model\.1\.weight")
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


class Lpips(nn.Module):
    """Distance of pictures; its weights never learn.

    Args:
        widths: Channels after each stage.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512, 512)) -> None:
        super().__init__()
        channels = (3, *widths)
        self.stages = nn.ModuleList(
            nn.ModuleList(
                nn.Conv2d(channels[index] if place == 0 else width, width, 3, padding=1)
                for place in range(len(numbers))
            )
            for index, (width, numbers) in enumerate(zip(widths, _STAGES, strict=True))
        )
        self.heads = nn.ParameterList(nn.Parameter(torch.zeros(width)) for width in widths)
        self.requires_grad_(requires_grad=False)

    @classmethod
    def from_files(cls, *files: Path, allow_pickle: bool = False) -> Self:
        """Read released weights.

        Args:
            *files: One or two files that together hold the convolutions (torchvision's names
                `features.0.weight` ..., or LPIPS' `net.slice1.0.weight` ...) and the heads
                (`lin0.model.1.weight` ...). What else they hold is left out.
            allow_pickle: Accept `.pth` and the like, read without running code.

        Raises:
            ValueError: A file cannot be read, or a tensor is missing or of another shape, naming it.
        """
        where = ", ".join(map(str, files))
        found: dict[str, Tensor] = {}
        for file in files:
            weights = load_weights(file, dtype=torch.float32, allow_pickle=allow_pickle)
            found.update({ours: tensor for name, tensor in weights.items() if (ours := _our_name(name))})
        widths = [found[f"heads.{stage}"].numel() for stage in range(5) if f"heads.{stage}" in found]
        if len(widths) < 5:
            raise ValueError(f"{where}: no LPIPS head lin{len(widths)}.model.1.weight; give its file as well")
        network = cls(widths)
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        for name, shape in shapes.items():
            tensor = found.get(name)
            if tensor is None:
                raise ValueError(f"{where}: no VGG-16 convolution {_released(name)}; give its file as well")
            found[name] = tensor = tensor.flatten() if name.startswith("heads.") else tensor
            if tensor.shape != shape:
                shown = f"{list(tensor.shape)}, expected {list(shape)}"
                raise ValueError(f"{where}: {_released(name)} has shape {shown}")
        network.load_state_dict({name: found[name] for name in shapes})
        return network

    def forward(self, output_N3HW: Tensor, target_N3HW: Tensor) -> Tensor:
        """Distances (N,) of pictures in [-1, 1], sides at least 16."""
        ours, theirs = self._features(output_N3HW), self._features(target_N3HW)
        total = output_N3HW.new_zeros(len(output_N3HW), dtype=torch.float32)
        for head_C, first_NCHW, second_NCHW in zip(self.heads, ours, theirs, strict=True):
            error_NCHW = (first_NCHW - second_NCHW).square()
            total = total + (error_NCHW * head_C.view(1, -1, 1, 1)).sum(dim=1).mean(dim=(1, 2))
        return total

    def _features(self, x_N3HW: Tensor) -> list[Tensor]:
        """Outputs of the stages, each place a vector of length 1."""
        shift, scale = (x_N3HW.new_tensor(values).view(1, 3, 1, 1) for values in (_SHIFT, _SCALE))
        x_NCHW = (x_N3HW - shift) / scale
        found: list[Tensor] = []
        for index, stage in enumerate(self.stages):
            x_NCHW = F.max_pool2d(x_NCHW, 2) if index else x_NCHW
            assert isinstance(stage, nn.ModuleList)
            for layer in stage:
                x_NCHW = F.relu(layer(x_NCHW))
            length = x_NCHW.float().square().sum(dim=1, keepdim=True).sqrt()
            found.append(x_NCHW.float() / (length + _EPSILON))
        return found


def _our_name(released: str) -> str | None:
    if head := _HEAD.fullmatch(released):
        return f"heads.{head[1]}"
    convolution = _CONVOLUTION.fullmatch(released)
    if convolution is None:
        return None
    for stage, numbers in enumerate(_STAGES):
        if int(convolution[1]) in numbers:
            return f"stages.{stage}.{numbers.index(int(convolution[1]))}.{convolution[2]}"
    return None


def _released(ours: str) -> str:
    kind, stage, *rest = ours.split(".")
    if kind == "heads":
        return f"lin{stage}.model.1.weight"
    return f"features.{_STAGES[int(stage)][int(rest[0])]}.{rest[1]}"
