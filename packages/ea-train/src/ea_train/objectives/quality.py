"""Figures of merit with their uncertainty. Videos are (B, 3, T, H, W) in [-1, 1]."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

_WINDOW, _SPREAD = 11, 1.5
_RANGE = 2.0
_QUANTILE = 1.96


def ssim(output: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of each clip (B,), the mean over its frames, channels and places.

    With a Gaussian window of 11 pixels, 1.5 wide, cut to the side of smaller pictures; borders are left out.
    Source: Wang et al. 2004, "Image quality assessment", equation 13.
    """
    frames = [rearrange(video.float().clamp(-1, 1), "b c t h w -> (b t) c h w") for video in (output, target)]
    side = min(_WINDOW, *frames[0].shape[-2:])
    places = torch.arange(side, device=output.device) - (side - 1) / 2
    taps = torch.exp(-places.square() / (2 * _SPREAD**2))
    kernel = torch.outer(taps / taps.sum(), taps / taps.sum()).expand(3, 1, side, side)

    def blurred(x_NCHW: Tensor) -> Tensor:
        return F.conv2d(x_NCHW, kernel, groups=3)

    x, y = frames
    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    first, second = (0.01 * _RANGE) ** 2, (0.03 * _RANGE) ** 2
    top = (2 * mean_x * mean_y + first) * (2 * covariance + second)
    found = top / ((mean_x**2 + mean_y**2 + first) * (var_x + var_y + second))
    return found.mean(dim=(1, 2, 3)).view(output.shape[0], -1).mean(dim=1)


def with_interval(name: str, values: Tensor) -> dict[str, float]:
    """Mean of independent values (N,) as `name`, and half of its 95 % confidence interval as `name_interval`.

    The interval is the normal one, 1.96 standard errors; a single value has none.
    """
    values = values.double()
    figures = {name: float(values.mean())}
    if len(values) > 1:
        figures[f"{name}_interval"] = _QUANTILE * float(values.std()) / len(values) ** 0.5
    return figures
