"""The edge network of ControlNet, a holistically nested one: five stages, each with a map of edges.

Architecture: Xie and Tu, "Holistically-nested edge detection", 2015; names and sizes of the tensors are
those of the released ControlNetHED.pth.

Tensors: x (1, 3, H, W).
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ea_data.control.extras import load
from ea_data.control.kinds import HedOptions
from ea_data.control.networks.pixels import fitted, resized, to_tensor
from ea_data.control.networks.source import Notify
from ea_data.control.networks.states import Table, load_state

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["RELEASED", "edge_logits", "hed", "table"]

Pixels = NDArray[np.uint8]

RELEASED: Final = "ControlNetHED.pth"
_WIDTHS: Final = (3, 64, 128, 256, 512, 512)
_DEPTHS: Final = (2, 2, 3, 3, 3)
_MULTIPLE: Final = 64


def table() -> Table:
    """Shapes of the weights by name."""
    shapes: dict[str, tuple[int, ...]] = {"norm": (1, 3, 1, 1)}
    for stage, ((before, width), depth) in enumerate(zip(pairwise(_WIDTHS), _DEPTHS), start=1):
        for i in range(depth):
            shapes[f"block{stage}.convs.{i}.weight"] = (width, width if i else before, 3, 3)
            shapes[f"block{stage}.convs.{i}.bias"] = (width,)
        shapes[f"block{stage}.projection.weight"] = (1, width, 1, 1)
        shapes[f"block{stage}.projection.bias"] = (1,)
    return shapes


def edge_logits(state: Mapping[str, "Tensor"], x: "Tensor") -> "list[Tensor]":
    """The maps of the five stages, before the sigmoid.

    Args:
        state: Weights as in `table`.
        x: (1, 3, H, W) RGB, 0..255; both sides 16 or more.

    Returns:
        (1, 1, H / 2^i, W / 2^i) for i of 0 to 4, rounded down.
    """
    functional = load("torch.nn.functional")
    x = x - state["norm"]
    maps = []
    for stage, depth in enumerate(_DEPTHS, start=1):
        if stage > 1:
            x = functional.max_pool2d(x, 2)
        for i in range(depth):
            name = f"block{stage}.convs.{i}"
            x = functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1).relu()
        name = f"block{stage}.projection"
        maps.append(functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"]))
    return maps


def hed(options: HedOptions, notify: Notify) -> Callable[[], Callable[[Pixels], Pixels]]:
    """Soft edges: the mean of the five maps, each scaled to the size of the frame.

    Raises:
        ValueError: See `load_state`.
    """
    torch, functional = load("torch"), load("torch.nn.functional")
    load("cv2")
    state = load_state(options, table(), RELEASED, notify)

    @torch.inference_mode()
    def make(frame: Pixels) -> Pixels:
        height, width = frame.shape[:2]
        shown = fitted(frame, options.resolution, _MULTIPLE)
        size = shown.shape[:2]
        maps = [
            functional.interpolate(found, size=size, mode="bilinear", align_corners=False)
            for found in edge_logits(state, to_tensor(shown, options.device))
        ]
        edges = torch.stack(maps).mean(dim=0).sigmoid()[0, 0].cpu().numpy()
        return (resized(edges, height, width).clip(0, 1) * 255 + 0.5).astype(np.uint8)

    return lambda: make
