"""PSNR and SSIM of uint8 frames.

SSIM after Wang, Bovik, Sheikh and Simoncelli 2004: luma, an 11 x 11 Gaussian window of standard deviation
1.5, no padding, K1 = 0.01, K2 = 0.03. Shapes: T frames, H and W pixels.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Frames = NDArray[np.uint8]

_LUMA = (0.299, 0.587, 0.114)
_WINDOW = 11
_SIGMA = 1.5
IDENTICAL = 100.0
"""PSNR of identical frames, in place of infinity."""


def psnr(a: Frames, b: Frames) -> float:
    """Peak signal-to-noise ratio in dB over all pixels of two equally large arrays."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return IDENTICAL if error == 0 else min(IDENTICAL, 10 * math.log10(255**2 / error))


def ssim(a_THW3: Frames, b_THW3: Frames) -> float:
    """Mean structural similarity of two clips of at least 11 x 11 pixels."""
    a, b = _luma(a_THW3), _luma(b_THW3)
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = _blur(a * a) - mean_a**2
    var_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    below = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float((above / below).mean())


def _luma(frames: Frames) -> Tensor:
    return torch.from_numpy(frames.astype(np.float64) @ np.array(_LUMA))[:, None]


def _blur(x_T1HW: Tensor) -> Tensor:
    steps = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    kernel = torch.exp(-(steps**2) / (2 * _SIGMA**2))
    kernel = kernel / kernel.sum()
    return F.conv2d(F.conv2d(x_T1HW, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
