"""Convolutions, by the way that is fastest on the device."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ea_kernels.norms import writes_in_place
from ea_kernels.winograd import axis_to_share, shared_convolution

_ONE = (1, 1, 1)


def conv2d(
    x_BCHW: Tensor,
    weight_OCHW: Tensor,
    bias_O: Tensor | None = None,
    *,
    stride: tuple[int, ...] = (1, 1),
    padding: tuple[int, ...] = (0, 0),
) -> Tensor:
    """2-D convolution (cross-correlation), as `torch.nn.functional.conv2d`."""
    return F.conv2d(x_BCHW, weight_OCHW, bias_O, stride, padding)


def conv3d(
    x_BCTHW: Tensor,
    weight_OCTHW: Tensor,
    bias_O: Tensor | None = None,
    *,
    stride: tuple[int, ...] = (1, 1, 1),
    padding: tuple[int, ...] = (0, 0, 0),
) -> Tensor:
    """3-D convolution (cross-correlation), as `torch.nn.functional.conv3d`.

    On a CPU torch hands only large inputs to oneDNN and does the others, which the coarse levels of an
    autoencoder are made of, at down to a third of its speed; here all of them go to it. Large ones with their
    channels last, of which no gradient is wanted, do with half the products, see `ea_kernels.winograd`. What
    is compiled is torch's own.
    """
    if not _goes_to_onednn(x_BCTHW, weight_OCTHW):
        return F.conv3d(x_BCTHW, weight_OCTHW, bias_O, stride, padding)
    if stride == _ONE and writes_in_place(x_BCTHW):
        axis = axis_to_share(x_BCTHW, weight_OCTHW, padding)
        if axis is not None:
            return shared_convolution(
                x_BCTHW, weight_OCTHW, bias_O, axis=axis, padding=padding, convolve=_onednn
            )
    return _onednn(x_BCTHW, weight_OCTHW, bias_O, padding, stride)


def _onednn(
    x_BCTHW: Tensor,
    weight_OCTHW: Tensor,
    bias_O: Tensor | None,
    padding: tuple[int, ...],
    stride: tuple[int, ...] = _ONE,
) -> Tensor:
    bias_O = None if bias_O is None else bias_O.contiguous()  # read as if it were, whatever its stride
    return torch.ops.aten.mkldnn_convolution(x_BCTHW, weight_OCTHW, bias_O, padding, stride, _ONE, 1)


def prefers_channels_last(x_BCTHW: Tensor) -> bool:
    """Whether 3-D convolutions of such clips are fastest with the channels last.

    oneDNN convolves few channels of large pictures up to 1.4 times as fast that way and does not copy a clip
    to and from a format of its own. On a GPU this is not measured.
    """
    return _goes_to_onednn(x_BCTHW, x_BCTHW)


def _goes_to_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()  # a compiler does not know what the operator gives
        and x.device.type == "cpu"
        and x.ndim == weight.ndim == 5
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)
    )
