"""M-LSD, the line network of ControlNet: MobileNetV2 down to a sixteenth of the size, and back up to a half.

Architecture: Gu et al., "Towards light-weight and real-time line segment detection", 2022, the large model;
names and sizes of the tensors are those of the released mlsd_large_512_fp32.pth.

Tensors: x (1, C, H, W).
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from ea_data.control.extras import load
from ea_data.control.networks.states import Table

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RELEASED", "line_map", "table"]

RELEASED: Final = "mlsd_large_512_fp32.pth"
# Expansion, channels and stride of the inverted residuals of MobileNetV2 that are used.
_RESIDUALS: Final = (
    (1, 16, 1), (6, 24, 2), (6, 24, 1), (6, 32, 2), (6, 32, 1), (6, 32, 1), (6, 64, 2), (6, 64, 1),
    (6, 64, 1), (6, 64, 1), (6, 96, 1), (6, 96, 1), (6, 96, 1),
)  # fmt: skip
_STEM: Final = 32
_TAPS: Final = (1, 3, 6, 10, 13)
_WIDTH: Final = 64
# Number of a join, and the channels of the finer map that comes in.
_JOINS: Final = ((15, 64), (17, 32), (19, 24), (21, 16))
_HEAD: Final = 16
_UNUSED: Final = 7  # of the head's channels


def table() -> Table:
    """Shapes of the weights by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for conv, norm, outputs, inputs, kernel, biased in _convolutions():
        shapes[f"{conv}.weight"] = (outputs, inputs, kernel, kernel)
        if biased:
            shapes[f"{conv}.bias"] = (outputs,)
        if norm:
            shapes |= {
                f"{norm}.{part}": (outputs,) for part in ("weight", "bias", "running_mean", "running_var")
            }
    return shapes


def line_map(state: Mapping[str, "Tensor"], x: "Tensor") -> "Tensor":
    """Where lines have their middle, and where they end from there.

    Args:
        state: Weights as in `table`.
        x: (1, 4, H, W) RGB and a constant, -1..1; both sides multiples of 16.

    Returns:
        (1, 9, H / 2, W / 2): the logit of a middle, four offsets (x and y of the start, of the end), four
        channels for training.
    """
    functional, torch = load("torch.nn.functional"), load("torch")
    taps = _backbone(state, x)
    x = taps.pop()
    for number, _ in _JOINS:
        join, block = f"block{number}", f"block{number + 1}"
        x = _biased(state, x, f"{join}.conv1")
        if number != _JOINS[0][0]:
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)
        x = torch.cat((_biased(state, taps.pop(), f"{join}.conv2"), x), dim=1)
        x = _biased(state, x, f"{block}.conv1", padding=1) + x
        x = _biased(state, x, f"{block}.conv2", padding=1)
    x = _biased(state, x, "block23.conv1", padding=5, dilation=5)
    x = _biased(state, x, "block23.conv2", padding=1)
    x = functional.conv2d(x, state["block23.conv3.weight"], state["block23.conv3.bias"])
    return x[:, _UNUSED:]


def _backbone(state: Mapping[str, "Tensor"], x: "Tensor") -> "list[Tensor]":
    x = _clipped(state, x, "backbone.features.0", stride=2)
    taps = []
    for index, (expansion, _, stride) in enumerate(_RESIDUALS, start=1):
        name, y, place = f"backbone.features.{index}.conv", x, 0
        if expansion != 1:
            y, place = _clipped(state, x, f"{name}.0"), 1
        y = _clipped(state, y, f"{name}.{place}", stride=stride, groups=y.shape[1])
        y = load("torch.nn.functional").conv2d(y, state[f"{name}.{place + 1}.weight"])
        y = _normed(state, y, f"{name}.{place + 2}")
        x = x + y if x.shape == y.shape else y
        if index in _TAPS:
            taps.append(x)
    return taps


def _clipped(
    state: Mapping[str, "Tensor"], x: "Tensor", name: str, *, stride: int = 1, groups: int = 1
) -> "Tensor":
    functional = load("torch.nn.functional")
    weight = state[f"{name}.0.weight"]
    padding = weight.shape[-1] // 2
    if stride == 2:  # as TensorFlow pads: only behind
        x, padding = functional.pad(x, (0, 1, 0, 1)), 0
    x = functional.conv2d(x, weight, stride=stride, padding=padding, groups=groups)
    return functional.relu6(_normed(state, x, f"{name}.1"))


def _biased(
    state: Mapping[str, "Tensor"], x: "Tensor", name: str, *, padding: int = 0, dilation: int = 1
) -> "Tensor":
    weight, bias = state[f"{name}.0.weight"], state[f"{name}.0.bias"]
    x = load("torch.nn.functional").conv2d(x, weight, bias, padding=padding, dilation=dilation)
    return _normed(state, x, f"{name}.1").relu()


def _normed(state: Mapping[str, "Tensor"], x: "Tensor", name: str) -> "Tensor":
    parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return load("torch.nn.functional").batch_norm(x, *parts)


def _convolutions() -> Iterator[tuple[str, str, int, int, int, bool]]:
    """Every convolution: its name and that of its norm, outputs, inputs per group, kernel, whether biased."""
    yield "backbone.features.0.0", "backbone.features.0.1", _STEM, 4, 3, False
    before = _STEM
    for index, (expansion, width, _) in enumerate(_RESIDUALS, start=1):
        name, inner, place = f"backbone.features.{index}.conv", before * expansion, 0
        if expansion != 1:
            yield f"{name}.0.0", f"{name}.0.1", inner, before, 1, False
            place = 1
        yield f"{name}.{place}.0", f"{name}.{place}.1", inner, 1, 3, False
        yield f"{name}.{place + 1}", f"{name}.{place + 2}", width, inner, 1, False
        before = width
    for number, finer in _JOINS:
        join, block = f"block{number}", f"block{number + 1}"
        yield f"{join}.conv1.0", f"{join}.conv1.1", _WIDTH, before, 1, True
        yield f"{join}.conv2.0", f"{join}.conv2.1", _WIDTH, finer, 1, True
        yield f"{block}.conv1.0", f"{block}.conv1.1", 2 * _WIDTH, 2 * _WIDTH, 3, True
        yield f"{block}.conv2.0", f"{block}.conv2.1", _WIDTH, 2 * _WIDTH, 3, True
        before = _WIDTH
    for part in ("conv1", "conv2"):
        yield f"block23.{part}.0", f"block23.{part}.1", _WIDTH, _WIDTH, 3, True
    yield "block23.conv3", "", _HEAD, _WIDTH, 1, True
